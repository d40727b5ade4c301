import secrets

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
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
from robots.api.compiled import CompiledList
from robots.api.exceptions import Conflict
from robots.api.mixins import ListMixin
from robots.api.permissions import MayChange
from robots.api.schema import problem
from robots.client_address import is_loopback
from robots.close_codes import Close
from robots.models import Robot
from robots.worker_messages import close_connections
from teleop.api import examples
from teleop.api.filters import SessionListFilter
from teleop.api.marks import MarksMixin
from teleop.api.serializers import (
    HealthSerializer,
    LiveSerializer,
    OwnSessionSerializer,
    ReviewedSessionSerializer,
    RobotStatusSerializer,
    SessionChangeSerializer,
    SessionDetailSerializer,
    SessionSerializer,
    as_listed,
    read_related,
)
from teleop.models import LabelChanged, SessionIsLive, TeleopSession
from teleop.monitoring import health
from teleop.review.views import ReviewMixin

NEWEST_SESSIONS = 10


class ForEveryone(APIView):
    authentication_classes = []
    permission_classes = []
    throttle_classes = []


@method_decorator(never_cache, name="dispatch")
class HealthView(ForEveryone):
    @extend_schema(
        summary="Health",
        description="Health of this process and of the parts that it needs: the database, the channel layer, and the "
        "writer that commits frames. It answers within a second, and checks each part at most once a second.",
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
        description="Answers if the process runs, without other checks. A supervisor can restart it if it does not.",
        responses=LiveSerializer,
        examples=[examples.OpenApiExample("The process runs", {"status": "ok"})],
        auth=[],
    )
    def get(self, request):
        return Response({"status": "ok"})


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics as Prometheus text, to this machine and to clients with METRICS_TOKEN."""
    if not _may_read_metrics(request):
        raise PermissionDenied(
            "/metrics answers only this machine, and requests with `Authorization: Bearer METRICS_TOKEN`"
        )
    from teleop.monitoring.exporter import page  # here, as `serve` has to set prometheus-client's folder first

    return HttpResponse(page(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _may_read_metrics(request: HttpRequest) -> bool:
    given = request.headers.get("Authorization", "").encode()
    if settings.METRICS_TOKEN and secrets.compare_digest(given, f"Bearer {settings.METRICS_TOKEN}".encode()):
        return True
    # A request forwarded by a proxy on this machine does not come from this machine; it carries such a header.
    is_forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    return not is_forwarded and is_loopback(request.META.get("REMOTE_ADDR"))


@extend_schema_view(
    get=extend_schema(
        summary="A robot's status",
        description="Returns the robot's presence, clock skew, last error, live session and last sessions.",
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
            "last_sessions": _listed(robot.sessions.all())[:NEWEST_SESSIONS],
        }
        return Response(self.get_serializer(status).data)


def _listed(sessions: QuerySet) -> QuerySet:
    return as_listed(sessions.not_trashed().ordered())


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
        description="Returns the sessions that match all filters, newest first, without those in the trash. Large "
        "meta_info is left out.",
        examples=[examples.SESSION],
    ),
    retrieve=extend_schema(
        summary="Get a session",
        description="Returns the session with its joints, cameras, effective frame rate and missing frames.",
        examples=[examples.SESSION_DETAIL],
    ),
    partial_update=extend_schema(
        summary="Label a session",
        description="Merges values into meta_info, key by key; null removes a key. Once people have set task, success, "
        "tags, operator or note, the robot's values for this label are ignored. A robot's key may label its own "
        "sessions; the response then omits labels and marks that people have set, and quality.",
        request=SessionChangeSerializer,
        responses={200: SessionDetailSerializer, 409: problem("The stored values differ from `seen`.")},
        examples=[examples.LABELS, examples.SESSION_DETAIL],
    ),
    destroy=extend_schema(
        summary="Delete a session",
        description="Deletes the session permanently, with its frames and videos. End a live session first.",
        responses={204: None, 409: problem("The session is live.")},
    ),
)
class SessionViewSet(
    MarksMixin,
    ReviewMixin,
    ListMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    GenericViewSet,
):
    queryset = TeleopSession.objects.order_by("-start_time", "-id")
    listed = CompiledList(_listed(queryset))
    filterset_class = SessionListFilter
    lookup_value_regex = "[0-9]{1,18}"

    @property
    def robot_methods(self) -> tuple[str, ...]:
        """Return the methods for a robot's key: it labels its session, and does not change people's marks."""
        return ("PATCH",) if self.action == "partial_update" else ()

    def get_serializer_class(self):
        if self._is_robots_change:
            return OwnSessionSerializer
        lists = {"list": SessionSerializer, "review": ReviewedSessionSerializer}
        return lists.get(self.action, SessionDetailSerializer)

    @property
    def _is_robots_change(self) -> bool:
        return self.action == "partial_update" and isinstance(getattr(self.request, "auth", None), Robot)

    def get_queryset(self):
        if self.action in ("list", "review"):
            is_filtered = self.request.query_params.keys() & self.filterset_class.base_filters
            return as_listed(self.queryset) if is_filtered else self.listed.queryset()  # filters decide about the trash
        queryset = super().get_queryset()
        if self._is_robots_change:
            # Another robot's session gets the same answer as a missing one, so a robot cannot learn which ids exist.
            queryset = queryset.filter(robot=self.request.auth)
        if self.action not in ("partial_update", "marks", "unmark", "change_mark", "trash", "restore"):
            return queryset
        # no_key: a plain FOR UPDATE would block the session's frames, as their foreign key locks this row too.
        return queryset.select_for_update(no_key=True)

    def paginate_queryset(self, queryset):
        page = super().paginate_queryset(queryset)
        return read_related(page) if self.action == "review" else page

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
        description="Asks the robot's worker to store the received frames, send `ended` and close the connection with "
        "1000. `live` is false once the worker has done so.",
        request=None,
        responses={202: SessionDetailSerializer, 409: problem("The session has already ended.")},
        examples=[examples.ENDING],
    )
    @action(detail=True, methods=["post"], permission_classes=[MayChange])
    def end(self, request, pk):
        session = self.get_object()
        if not session.is_live:
            raise Conflict(f"session {session.pk} has already ended, at {session.end_time.isoformat()}")
        audit.record(audit.actor_of(request), audit.Action.ENDED, [session])
        close_connections(int(Close.ENDED), session_id=session.pk)
        return Response(self.get_serializer(session).data, status=202)
