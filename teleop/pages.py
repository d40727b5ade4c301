"""The staff's pages. They bring no data: their modules ask REST and the live sockets, which have their own rules."""

from django.contrib import admin
from django.contrib.auth.mixins import PermissionRequiredMixin
from django.urls import reverse_lazy
from django.views.generic import DetailView, TemplateView

from robots.models import Robot


class StaffPage(PermissionRequiredMixin):
    """For staff with `permission_required`: who is not logged in is sent to the admin's login, others get a 403."""

    login_url = reverse_lazy("admin:login")

    def has_permission(self) -> bool:
        return self.request.user.is_staff and super().has_permission()

    def get_context_data(self, **context):
        # The admin's sidebar would take a fifth of the width from the plots.
        header = admin.site.each_context(self.request) | {"is_nav_sidebar_enabled": False}
        return super().get_context_data(**header, **context)


class FleetPage(StaffPage, TemplateView):
    permission_required = "robots.view_robot"
    template_name = "teleop/fleet.html"
    extra_context = {
        "title": "Fleet",
        "statuses": [
            ("", "All"),
            ("error", "Error"),
            ("trouble", "Trouble"),
            ("online", "Online"),
            ("offline", "Offline"),
        ],
    }


class LivePage(StaffPage, DetailView):
    permission_required = ("robots.view_robot", "teleop.view_teleopsession")
    model = Robot
    template_name = "teleop/live.html"

    def get_context_data(self, **context):
        return super().get_context_data(title=f"{self.object.name or self.object.pk} live", **context)
