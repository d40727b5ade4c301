import ipaddress
import secrets

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.generics import RetrieveAPIView
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from robots import audit
from robots.api.exceptions import Conflict
from robots.api.permissions import MayChange
from robots.api.schema import problem
from robots.close_codes import Close
from robots.models import Robot
from robots.worker_messages import close_connections
from teleop.api import examples
from teleop.api.filters import SessionFilter
from teleop.api.marks import MarksMixin
from teleop.api.serializers import (
    HealthSerializer,
    LiveSerializer,
    OwnSessionSerializer,
    RobotStatusSerializer,
    SessionChangeSerializer,
    SessionDetailSerializer,
    SessionSerializer,
    as_listed,
)
from teleop.models import LabelChanged, SessionIsLive, TeleopSession
from teleop.monitoring import health

NEWEST_SESSIONS = 10


class ForEveryone(APIView):
    authentication_classes = []
    permission_classes = []
    throttle_classes = []


@method_decorator(never_cache, name="dispatch")
class HealthView(ForEveryone):
    @extend_schema(
        summary="Health",
        description="Whether this process and what it needs are there: the database, the channel layer, and the writer "
        "that commits frames. Answers within a second whatever is down, and asks each part once a second at most.",
        responses={200: HealthSerializer, 503: HealthSerializer},
        examples=[examples.HEALTHY, examples.DOWN],
        auth=[],
    )
    def get(self, request):
        report = health.report()
        return Response(report, status=200 if report["status"] == "ok" else 503)


@method_decorator(never_cache, name="dispatch")
class LiveView(ForEveryone):
    touches_nothing = True

    @extend_schema(
        summary="Liveness",
        description="The process answers. It touches nothing else: for those who restart it when it does not.",
        responses=LiveSerializer,
        examples=[examples.OpenApiExample("It lives", {"status": "ok"})],
        auth=[],
    )
    def get(self, request):
        return Response({"status": "ok"})


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics as Prometheus text, to this machine and to clients with METRICS_TOKEN."""
    if not _may_read_metrics(request):
        raise PermissionDenied("/metrics is for this machine, and for who has METRICS_TOKEN")
    from teleop.monitoring.exporter import page  # here, as `serve` has to set prometheus-client's folder first

    return HttpResponse(page(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _may_read_metrics(request: HttpRequest) -> bool:
    given = request.headers.get("Authorization", "").encode()
    if settings.METRICS_TOKEN and secrets.compare_digest(given, f"Bearer {settings.METRICS_TOKEN}".encode()):
        return True
    # A request forwarded by a proxy on this machine does not come from this machine; it carries the header.
    address = request.META.get("REMOTE_ADDR") or ""
    return "X-Forwarded-For" not in request.headers and _is_loopback(address)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


@extend_schema_view(
    get=extend_schema(
        summary="A robot's status",
        description="Is it here, does its clock agree, what was wrong last, what does it record; its last sessions.",
        examples=[examples.ROBOT_STATUS],
    )
)
class RobotStatusView(RetrieveAPIView):
    also_needed = ("teleop.view_teleopsession",)
    queryset = Robot.objects.all()
    serializer_class = RobotStatusSerializer

    def retrieve(self, request, pk):
        robot = self.get_object()
        live = robot.sessions.live().order_by("-updated_at").first()
        pulse = live.pulse() if live else None
        skew_s = pulse.skew_s if pulse else None
        status = {
            "status": robot.status,
            "last_heartbeat": robot.last_heartbeat,
            "clock_skew_s": skew_s,
            "last_error": robot if robot.last_error_code else None,
            "live_session": live and _pulse_of(live, pulse),
            "last_sessions": as_listed(robot.sessions.order_by("-start_time", "-id"))[:NEWEST_SESSIONS],
        }
        return Response(self.get_serializer(status).data)


def _pulse_of(session: TeleopSession, pulse) -> dict:
    lag_s = None if pulse.skew_s is None else max(0.0, -pulse.skew_s)
    return {
        "id": session.pk,
        "key": session.key,
        "start_time": session.start_time,
        "frame_count": session.frame_count,
        "rate_hz": pulse.rate_hz,
        "lag_s": lag_s,
    }


@extend_schema_view(
    list=extend_schema(
        summary="List sessions",
        description="Newest first. Filters combine: a session has to pass all of them. Large meta_info is left out.",
        examples=[examples.SESSION],
    ),
    retrieve=extend_schema(
        summary="One session",
        description="With what its frames and videos say: joints, cameras, effective rate, missing frames.",
        examples=[examples.SESSION_DETAIL],
    ),
    partial_update=extend_schema(
        summary="Label a session",
        description="Merges into meta_info, key by key; null removes a key. What people say of task, success, tags and "
        "note is final: the robot's word of them is passed over from then on. A robot's key may do it for its own, and "
        "is answered without what people have added: their labels, marks, quality.",
        request=SessionChangeSerializer,
        responses={200: SessionDetailSerializer, 409: problem("It is not as `seen` any more.")},
        examples=[examples.LABELS, examples.SESSION_DETAIL],
    ),
    destroy=extend_schema(
        summary="Delete a session",
        description="With its frames and videos, for good. A live session is ended first: `POST /sessions/{id}/end`.",
        responses={204: None, 409: problem("It is live.")},
    ),
)
class SessionViewSet(
    MarksMixin, mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.DestroyModelMixin, GenericViewSet
):
    queryset = TeleopSession.objects.order_by("-start_time", "-id")
    filterset_class = SessionFilter
    lookup_value_regex = "[0-9]{1,18}"
    robot_methods = ("PATCH",)

    def get_serializer_class(self):
        if self._is_robots_change:
            return OwnSessionSerializer
        return SessionSerializer if self.action == "list" else SessionDetailSerializer

    @property
    def _is_robots_change(self) -> bool:
        return self.action == "partial_update" and isinstance(getattr(self.request, "auth", None), Robot)

    def get_queryset(self):
        queryset = super().get_queryset()
        if self.action == "list":
            return as_listed(queryset)
        if self._is_robots_change:
            # Another robot's session gets the same answer as a missing one, so a robot cannot learn which ids exist.
            queryset = queryset.filter(robot=self.request.auth)
        if self.action not in ("partial_update", "marks", "unmark"):
            return queryset
        # no_key: a plain FOR UPDATE would block the session's frames, as their foreign key locks this row too.
        return queryset.select_for_update(no_key=True)

    @transaction.atomic
    def partial_update(self, request, pk):
        changes = SessionChangeSerializer(self.get_object(), data=request.data)
        changes.is_valid(raise_exception=True)
        try:
            session = changes.save(actor=audit.actor_of(request))
        except LabelChanged as error:
            raise Conflict(str(error)) from None
        return Response(self.get_serializer(session).data)

    def perform_destroy(self, session):
        try:
            session.delete(actor=audit.actor_of(self.request))
        except SessionIsLive as error:
            raise Conflict(str(error)) from error

    @extend_schema(
        summary="End a live session",
        description="Asks the worker that has the robot to store what came in, say `ended` and close (1000): the "
        "robot's client is done then. `live` is false once it has happened.",
        request=None,
        responses={202: SessionDetailSerializer, 409: problem("It has ended already.")},
        examples=[examples.ENDING],
    )
    @action(detail=True, methods=["post"], permission_classes=[MayChange])
    def end(self, request, pk):
        session = self.get_object()
        if not session.is_live:
            raise Conflict(f"session {session.pk} has ended already, at {session.end_time.isoformat()}")
        audit.record(audit.actor_of(request), audit.Action.ENDED, [session])
        close_connections(int(Close.ENDED), session_id=session.pk)
        return Response(self.get_serializer(session).data, status=202)
