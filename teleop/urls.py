from django.urls import re_path

from robots.models import ROBOT_ID
from robots.routers import Router
from teleop import views

router = Router()
router.register("sessions", views.SessionViewSet)

urlpatterns = [
    re_path(r"^health/?$", views.HealthView.as_view()),
    re_path(r"^health/live/?$", views.LiveView.as_view()),
    re_path(rf"^robots/(?P<pk>{ROBOT_ID.pattern})/status/?$", views.RobotStatusView.as_view()),
    *router.urls,
]
