from django.urls import reverse
from django.utils.safestring import SafeString

from robots.admin_tools import display


def session_link(session_id: int) -> SafeString:
    return display.link(reverse("admin:teleop_teleopsession_change", args=[session_id]), session_id)


def robot_link(robot_id: str) -> SafeString:
    return display.link(reverse("admin:robots_robot_change", args=[robot_id]), robot_id)
