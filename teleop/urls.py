from django.urls import path, re_path

from robots.api.routers import Router
from robots.models import ROBOT_ID
from teleop import views
from teleop.api import views as api
from teleop.api.events import EventsView
from teleop.api.jobs import JobViewSet
from teleop.frames import views as frames
from teleop.review.saved_filters import SavedFilterViewSet

router = Router()
router.register("sessions", api.SessionViewSet)
router.register("jobs", JobViewSet)
router.register("filters", SavedFilterViewSet, basename="saved-filter")

urlpatterns = [
    path("", views.FleetPage.as_view(), name="fleet"),
    re_path(r"^review/?$", views.ReviewPage.as_view(), name="review"),
    re_path(rf"^robots/(?P<pk>{ROBOT_ID.pattern})/live/?$", views.LivePage.as_view(), name="robot-live"),
    re_path(r"^sessions/(?P<pk>[0-9]{1,18})/replay/?$", views.ReplayPage.as_view(), name="session-replay"),
    re_path(r"^health/?$", api.HealthView.as_view()),
    re_path(r"^health/live/?$", api.LiveView.as_view()),
    re_path(r"^metrics/?$", api.metrics),
    re_path(rf"^robots/(?P<pk>{ROBOT_ID.pattern})/status/?$", api.RobotStatusView.as_view()),
    re_path(rf"^robots/(?P<pk>{ROBOT_ID.pattern})/frames/?$", frames.RobotFramesView.as_view()),
    re_path(r"^sessions/(?P<pk>[0-9]{1,18})/events/?$", EventsView.as_view()),
    re_path(r"^sessions/(?P<pk>[0-9]{1,18})/frames/?$", frames.SessionFramesView.as_view()),
    re_path(r"^sessions/(?P<pk>[0-9]{1,18})/series/?$", frames.SeriesView.as_view()),
    *router.urls,
]
