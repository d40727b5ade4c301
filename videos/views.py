from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from robots import audit
from robots.api.exceptions import Conflict
from robots.api.mixins import AuditedDestroyMixin, ListMixin
from robots.api.schema import problem
from robots.models import Robot
from teleop.background.process import work_is_due
from teleop.frames.sql import release_connection
from videos import examples
from videos.content import AnythingIsAccepted, original_of, poster_of, proxy_of, respond
from videos.filters import VideoFilter
from videos.models import EXTENSIONS, Overlap, SessionGone, VideoChunk
from videos.serializers import SessionProblem, UploadedVideoSerializer, UploadSerializer, VideoSerializer
from videos.uploads import check_room, refused_if_disk_is_full

RANGE = OpenApiParameter(
    "Range",
    str,
    OpenApiParameter.HEADER,
    description="`bytes=0-1023`, `bytes=1024-` or `bytes=-1024`. For several ranges the whole file is returned.",
)


def responses(*media_types: str) -> dict:
    bodies = {(status, media_type): OpenApiTypes.BINARY for media_type in media_types for status in (200, 206)}
    return bodies | {
        304: OpenApiResponse(description="The file matches If-None-Match."),
        410: problem("The chunk exists, but its file is missing."),
        412: OpenApiResponse(description="The file does not match If-Match."),
        416: problem("The range contains no byte of the file; Content-Range gives its size."),
    }


@extend_schema_view(
    list=extend_schema(
        summary="List videos",
        description="Returns the chunks that match all filters, by session, camera and time.",
        examples=[examples.VIDEO],
    ),
    retrieve=extend_schema(
        summary="Get a video", description="Returns a chunk without its content.", examples=[examples.VIDEO]
    ),
    create=extend_schema(
        summary="Upload a video",
        description="Stores a chunk of one camera's video, unchanged. When the response arrives, the file is on the "
        "server's disk. If the same chunk is already stored, the response is 200, so a client may repeat an upload. "
        "A robot's key may upload to the robot's own sessions. A robot may name its session by `session_key`, and a "
        "person by `robot` and `session_key`: then the answer to an unknown key is 409, to a deleted session 410. A "
        "disabled robot gets 403 with the code `robot_disabled`, also without a key (ROBOT_AUTH=open).",
        request={"multipart/form-data": UploadSerializer},
        responses={
            201: UploadedVideoSerializer,
            200: OpenApiResponse(UploadedVideoSerializer, "The same chunk is already stored."),
            409: OpenApiResponse(
                SessionProblem,
                "Another chunk of this camera overlaps this time; the response names it. Or, with the code "
                "`session_unknown`, the robot has no session with this key yet: try again later.",
            ),
            410: OpenApiResponse(SessionProblem, "The session of this session_key was deleted."),
            411: problem("The request has no Content-Length."),
            413: problem("The file or the body is too large; the response names the maximum."),
            507: problem("Too little disk space, as a part is reserved for frames; the response gives the sizes."),
        },
        examples=[examples.UPLOAD, examples.UPLOAD_BY_KEY, examples.VIDEO, examples.WITH_WARNING],
    ),
    destroy=extend_schema(
        summary="Delete a video", description="Deletes the chunk and its files permanently.", responses={204: None}
    ),
)
class VideoViewSet(AuditedDestroyMixin, ListMixin, mixins.RetrieveModelMixin, GenericViewSet):
    queryset = VideoChunk.objects.order_by("session", "camera_key", "start_timestamp")
    serializer_class = VideoSerializer
    filterset_class = VideoFilter
    lookup_value_regex = "[0-9]{1,18}"
    parser_classes = [MultiPartParser]
    robot_methods = ("POST",)
    open_methods = ("POST",)

    def create(self, request):
        check_room(int(request.META.get("CONTENT_LENGTH") or 0))  # the server has refused a body that is too large
        robot = request.auth if isinstance(request.auth, Robot) else None
        context = {"robot": robot, "is_person": request.user.is_authenticated}
        upload = UploadSerializer(data=request.data, context=context)
        upload.is_valid(raise_exception=True)
        chunk, file = upload.chunk(), upload.validated_data["file"]
        self.check_object_permissions(request, chunk.session)
        release_connection()  # reading 2 GiB takes long, and other requests need the connection
        upload.examine(chunk)
        try:
            with refused_if_disk_is_full():
                kept, is_new = chunk.keep(file, actor=audit.actor_of(request))
        except SessionGone:
            raise upload.deleted() from None
        except Overlap as error:
            raise Conflict(str(error)) from None
        if is_new:
            work_is_due()  # its poster, and its proxy
        data = UploadedVideoSerializer(kept, context=self.get_serializer_context()).data
        return Response(data, status=201 if is_new else 200)

    @extend_schema(
        summary="A video's content",
        description="Returns the file as uploaded, or a range of it; HEAD works too. The ETag is the SHA-256 of the "
        "file, or nginx's own ETag if nginx sends the file in place of this server (docs/api.md).",
        parameters=[RANGE],
        responses=responses(*EXTENSIONS),
    )
    @action(detail=True, content_negotiation_class=AnythingIsAccepted)
    def content(self, request, pk):
        return respond(original_of(self.get_object()), request)

    @extend_schema(
        summary="A video's first picture",
        description="Returns a small JPEG. 404 until the server has made it, and if it cannot make one.",
        parameters=[RANGE],
        responses=responses("image/jpeg"),
    )
    @action(detail=True, content_negotiation_class=AnythingIsAccepted)
    def poster(self, request, pk):
        return respond(poster_of(self.get_object()), request)

    @extend_schema(
        summary="A video's small version for browsers",
        description="Returns an H.264 mp4 or a range of it. Its first picture is at 0 s. Only videos that browsers do "
        "not play have it; 404 until the server has made it.",
        parameters=[RANGE],
        responses=responses("video/mp4"),
    )
    @action(detail=True, content_negotiation_class=AnythingIsAccepted)
    def proxy(self, request, pk):
        return respond(proxy_of(self.get_object()), request)
