from django.urls import path, re_path

from robots.models import ROBOT_ID
from robots.routers import Router
from teleop import pages, views
from teleop.frames import views as frames

router = Router()
router.register("sessions", views.SessionViewSet)

urlpatterns = [
    path("", pages.FleetPage.as_view(), name="fleet"),
    re_path(rf"^robots/(?P<pk>{ROBOT_ID.pattern})/live/?$", pages.LivePage.as_view(), name="robot-live"),
    re_path(r"^sessions/(?P<pk>[0-9]{1,18})/replay/?$", pages.ReplayPage.as_view(), name="session-replay"),
    re_path(r"^health/?$", views.HealthView.as_view()),
    re_path(r"^health/live/?$", views.LiveView.as_view()),
    re_path(r"^metrics/?$", views.metrics),
    re_path(rf"^robots/(?P<pk>{ROBOT_ID.pattern})/status/?$", views.RobotStatusView.as_view()),
    re_path(rf"^robots/(?P<pk>{ROBOT_ID.pattern})/frames/?$", frames.RobotFramesView.as_view()),
    re_path(r"^sessions/(?P<pk>[0-9]{1,18})/frames/?$", frames.SessionFramesView.as_view()),
    re_path(r"^sessions/(?P<pk>[0-9]{1,18})/series/?$", frames.SeriesView.as_view()),
    *router.urls,
]
