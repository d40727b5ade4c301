"""Pages for staff. The pages contain no data: their scripts use REST and the live sockets, which check permissions."""

from contextlib import suppress

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.mixins import PermissionRequiredMixin
from django.http import Http404, QueryDict
from django.urls import reverse_lazy
from django.views.generic import DetailView, TemplateView
from rest_framework.exceptions import ValidationError

from robots.api.permissions import WATCH
from robots.models import Robot
from teleop.api.filters import SessionListFilter
from teleop.models import TeleopSession
from teleop.querysets import Position


class StaffPage(PermissionRequiredMixin):
    """A page for people with `permission_required`; anonymous users are sent to the admin's login, others get a 403."""

    login_url = reverse_lazy("admin:login")

    def get_context_data(self, **context):
        # The admin's sidebar would take a fifth of the width from the plots.
        header = admin.site.each_context(self.request) | {"is_nav_sidebar_enabled": False}
        return super().get_context_data(**header, **context)


class ReviewPage(StaffPage, TemplateView):
    """The list of sessions for daily work. The query has filters of GET /sessions, and `days` in their place."""

    permission_required = "teleop.view_teleopsession"
    template_name = "teleop/review.html"
    extra_context = {
        "title": "Review",
        "orders": [
            ("", "Newest first"),
            ("oldest", "Oldest first"),
            ("longest", "Longest first"),
            ("shortest", "Shortest first"),
        ],
        "trash_days": settings.TRASH_DAYS,
    }


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

    def get_object(self):
        try:
            return super().get_object()
        except Http404:
            raise Http404(f"There is no robot {self.kwargs['pk']}; it may have been deleted.") from None

    def get_context_data(self, **context):
        last_session = self.object.sessions.not_trashed().ordered().first()
        title = f"{self.object.name or self.object.pk} live"
        return super().get_context_data(title=title, last_session=last_session, **context)


class ReplayPage(StaffPage, DetailView):
    """Replay. The query has a moment `t` and the filters of GET /sessions; `n` and `p` stay in this list.

    A list of /review by day has `days` too, in place of `from` and `to`, which depend on the browser's time zone.
    """

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
        back = query.copy()
        for name in ("from", "to") if "days" in back else ():
            back.pop(name, None)
        context |= {"place": self._place(query), "query": query.urlencode(), "back": back.urlencode()}
        return super().get_context_data(title=f"Session {self.object.pk}", **context)

    def _place(self, query: QueryDict) -> Position:
        """Return the session's place in the list that the query selects."""
        filters = SessionListFilter(query, TeleopSession.objects.all())
        with suppress(ValidationError):  # if filters contradict each other, none applies
            if filters.is_valid():
                return filters.qs.order_by().position(self.object, filters.order)
        return TeleopSession.objects.not_trashed().position(self.object)
