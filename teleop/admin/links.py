from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString

from robots.admin_tools import display


def session_link(session_id: int) -> SafeString:
    return display.link(reverse("admin:teleop_teleopsession_change", args=[session_id]), session_id)


def robot_link(robot_id: str) -> SafeString:
    return display.link(reverse("admin:robots_robot_change", args=[robot_id]), robot_id)


class LinkColumns:
    """Columns with the session and the robot of a frame or a video chunk."""

    @admin.display(description="session")
    def of_session(self, row):
        return session_link(row.session_id)

    @admin.display(description="robot")
    def of_robot(self, row):
        return robot_link(row.robot_id)
