"""Pages for staff. The pages contain no data: their scripts use REST and the live sockets, which check permissions."""

from contextlib import suppress

from django.contrib import admin
from django.contrib.auth.mixins import PermissionRequiredMixin
from django.http import Http404
from django.urls import reverse_lazy
from django.views.generic import DetailView, TemplateView
from rest_framework.exceptions import ValidationError

from robots.api.permissions import WATCH
from robots.models import Robot
from teleop.api.filters import SessionFilter
from teleop.models import TeleopSession


class StaffPage(PermissionRequiredMixin):
    """A page for staff with `permission_required`; anonymous users are sent to the admin's login, others get a 403."""

    login_url = reverse_lazy("admin:login")

    def has_permission(self) -> bool:
        return self.request.user.is_staff and super().has_permission()

    def get_context_data(self, **context):
        # The admin's sidebar would take a fifth of the width from the plots.
        header = admin.site.each_context(self.request) | {"is_nav_sidebar_enabled": False}
        return super().get_context_data(**header, **context)


class FleetPage(StaffPage, TemplateView):
    permission_required = WATCH
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
    permission_required = WATCH
    model = Robot
    template_name = "teleop/live.html"

    def get_context_data(self, **context):
        last_session = self.object.sessions.order_by("-start_time", "-pk").first()
        title = f"{self.object.name or self.object.pk} live"
        return super().get_context_data(title=title, last_session=last_session, **context)


class ReplayPage(StaffPage, DetailView):
    """Replay. The query has a moment `t` and the filters of GET /sessions; `n` and `p` follow the order of these."""

    permission_required = ("teleop.view_teleopsession", "teleop.view_teleopframe", "videos.view_videochunk")
    queryset = TeleopSession.objects.select_related("robot")
    template_name = "teleop/replay.html"
    context_object_name = "recording"  # `session` is the name of the login's session

    def get_object(self):
        try:
            return super().get_object()
        except Http404:
            raise Http404(f"There is no session {self.kwargs['pk']}; it may have been deleted.") from None

    def get_context_data(self, **context):
        query = self.request.GET.copy()
        query.pop("t", None)
        filters = SessionFilter(query, TeleopSession.objects.all())
        sessions = TeleopSession.objects.all()
        with suppress(ValidationError):  # if filters contradict each other, none applies
            sessions = filters.qs if filters.is_valid() else sessions
        before, after = sessions.only("pk", "start_time").neighbours(self.object)
        context |= {"before": before, "after": after, "query": query.urlencode()}
        return super().get_context_data(title=f"Session {self.object.pk}", **context)
