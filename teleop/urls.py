from django.urls import re_path
from rest_framework.routers import SimpleRouter

from robots.models import ROBOT_ID
from teleop import views

router = SimpleRouter(trailing_slash="/?")
router.register("sessions", views.SessionViewSet)

urlpatterns = [
    re_path(r"^health/?$", views.HealthView.as_view()),
    re_path(r"^health/live/?$", views.LiveView.as_view()),
    re_path(rf"^robots/(?P<pk>{ROBOT_ID.pattern})/status/?$", views.RobotStatusView.as_view()),
    *router.urls,
]
