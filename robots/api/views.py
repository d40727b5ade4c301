from csp.decorators import csp_update
from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.utils.cache import get_conditional_response
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from drf_spectacular.renderers import OpenApiJsonRenderer2, OpenApiYamlRenderer2
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.authtoken.views import ObtainAuthToken
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from robots import audit
from robots.api import examples, tokens
from robots.api.compiled import CompiledRows
from robots.api.exceptions import Conflict
from robots.api.filters import RobotFilter
from robots.api.mixins import AuditedDestroyMixin, ListMixin
from robots.api.parsers import StrictJSONParser
from robots.api.renderers import JSONRenderer
from robots.api.schema import problem, rendered_schema
from robots.api.serializers import KeySerializer, LoginSerializer, RobotSerializer
from robots.api.throttling import AnonymousThrottle, FailedLogins
from robots.models import ROBOT_ID, Robot

KEEPS_ITS_ID = problem("The id differs from the robot's id.")


@extend_schema_view(
    list=extend_schema(
        summary="List robots", description="Returns all robots, ordered by id.", examples=[examples.ROBOT]
    ),
    create=extend_schema(
        summary="Register a robot",
        description="The new robot has no key. `POST /robots/{id}/key` issues one.",
        responses={201: RobotSerializer, 409: problem("A robot with this id is already registered.")},
        examples=[examples.NEW_ROBOT, examples.ROBOT],
    ),
    retrieve=extend_schema(
        summary="Get a robot",
        description="Returns everything stored about the robot except its key.",
        examples=[examples.ROBOT],
    ),
    update=extend_schema(
        summary="Replace a robot's description",
        description="Read-only fields, such as status and last_heartbeat, are ignored. The id cannot change.",
        responses={200: RobotSerializer, 409: KEEPS_ITS_ID},
        examples=[examples.NEW_ROBOT, examples.ROBOT],
    ),
    partial_update=extend_schema(
        summary="Change a robot's description",
        description="Omitted fields keep their values. meta_info is replaced as a whole.",
        responses={200: RobotSerializer, 409: KEEPS_ITS_ID},
        examples=[examples.ROBOT_CHANGE, examples.ROBOT],
    ),
    destroy=extend_schema(
        summary="Delete a robot",
        description="A robot that has sessions cannot be deleted.",
        responses={204: None, 409: problem("The robot has sessions.")},
    ),
)
class RobotViewSet(AuditedDestroyMixin, ListMixin, ModelViewSet):
    queryset = Robot.objects.all()
    listed = CompiledRows(queryset)
    serializer_class = RobotSerializer
    filterset_class = RobotFilter
    lookup_value_regex = ROBOT_ID.pattern

    def get_queryset(self):
        if self.action == "list":
            return self.listed.queryset()
        queryset = super().get_queryset()
        if self.action not in ("update", "partial_update"):
            return queryset
        # With the lock, the audit log's "before" is the value that this request replaces. no_key: inserts of frames do
        # not wait.
        return queryset.select_for_update(no_key=True)

    def perform_create(self, serializer):
        try:
            with transaction.atomic():
                robot = serializer.save()
                audit.record(audit.actor_of(self.request), audit.Action.ADDED, [robot])
        except IntegrityError:
            raise Conflict(f"robot {serializer.validated_data['id']} is already registered") from None

    @transaction.atomic
    def update(self, request, *args, **kwargs):
        return super().update(request, *args, **kwargs)

    def perform_update(self, serializer):
        given = serializer.validated_data
        before = audit.values_of(serializer.instance, given)
        robot = serializer.save()
        if changes := audit.difference(before, audit.values_of(robot, given)):
            audit.record(audit.actor_of(self.request), audit.Action.CHANGED, [robot], changes)

    @extend_schema(
        summary="Issue a key",
        description="Returns a new key, which the server shows only in this response. The old key becomes invalid, and "
        "connections made with it are closed with 4401.",
        request=None,
        responses={201: KeySerializer},
        examples=[OpenApiExample("A key", {"key": "hR1tQ3o9ZyT0v1m0c7C4m3s6bYzJ8n2kq5xW_uLdE0A"})],
    )
    @action(detail=True, methods=["post"])
    @transaction.atomic
    def key(self, request, pk):
        robot = self.get_object()
        key = robot.issue_key()
        audit.record(audit.actor_of(request), audit.Action.KEY_ISSUED, [robot])
        return Response({"key": key}, status=201, headers={"Cache-Control": "no-store"})


@extend_schema_view(
    post=extend_schema(
        summary="Log in",
        description="Returns the user's token; send it as `Authorization: Token TOKEN`. The token stays the same until "
        "it expires (TOKEN_AGE_DAYS), the password changes, or the account becomes inactive. After 5 failed logins "
        "with one username, or 50 in total, an address must wait 15 minutes.",
        auth=[],
        responses={200: LoginSerializer, 401: problem("Invalid username or password, or inactive account.")},
        examples=[
            OpenApiExample("A login", {"username": "ada", "password": "a long password"}, request_only=True),  # nosec B105 # shown in /docs
            OpenApiExample("A token", {"token": "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"}, response_only=True),  # nosec B105
        ],
    )
)
@method_decorator(never_cache, name="dispatch")
class TokenView(ObtainAuthToken):
    authentication_classes = []
    permission_classes = []
    throttle_classes = [AnonymousThrottle, FailedLogins]
    serializer_class = LoginSerializer
    parser_classes = [StrictJSONParser]
    renderer_classes = [JSONRenderer]

    def post(self, request, *args, **kwargs):
        login = self.get_serializer(data=request.data)
        login.is_valid(raise_exception=True)
        given = login.validated_data
        return Response({"token": tokens.token_of(given["user"], given["password"]).key})


class SchemaView(SpectacularAPIView):
    """OpenAPI schema as JSON, or as YAML by the Accept header; the same for every client."""

    renderer_classes = [OpenApiJsonRenderer2, OpenApiYamlRenderer2]
    api_version = settings.VERSION

    @extend_schema(exclude=True)
    def get(self, request):
        renderer = request.accepted_renderer
        content, etag = rendered_schema(type(renderer))
        response = HttpResponse(content, content_type=renderer.media_type)
        response["Content-Disposition"] = f'inline; filename="{self._get_filename(request, self.api_version)}"'
        response["Cache-Control"] = "public, no-cache"  # a cache may store it, and revalidates it by its ETag
        response["ETag"] = etag
        return get_conditional_response(request, etag, response=response)


# Swagger UI has inline styles, and icons in data URLs; its script is a file (Split).
@method_decorator(
    csp_update({"style-src": ["'self'", "'unsafe-inline'"], "img-src": ["'self'", "data:"]}), name="dispatch"
)
class DocsView(SpectacularSwaggerSplitView):
    pass
