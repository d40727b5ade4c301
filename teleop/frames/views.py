from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING

from channels.db import database_sync_to_async
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.exceptions import ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from robots.api.renderers import JSONRenderer
from robots.api.schema import problem
from robots.models import Robot
from teleop.frames import serializers
from teleop.frames.export import chunked, json_lines
from teleop.frames.fields import TooManyColumns
from teleop.frames.keyset import Page, check_fields, frames_of, frames_with_session, ranges_of, read_page
from teleop.frames.negotiation import NegotiatedMixin
from teleop.frames.new_frames import new_frames
from teleop.frames.parameters import MOMENT, FramesParameters, RobotFramesParameters, SeriesParameters
from teleop.frames.sql import FrameRange, release_connection
from teleop.models import TeleopSession

if TYPE_CHECKING:
    from teleop.frames import request_limits


def parquet(frames: FrameRange, fields: Iterable[str]) -> AsyncGenerator[bytes, None]:
    from teleop.frames import parquet, request_limits  # 50 MB of Arrow, which a worker that only ingests never needs

    release_connection()
    try:
        with request_limits.turn_to_work():
            parquet.check_columns(frames, fields)
    except TooManyColumns as error:
        raise ValidationError({"fields": [str(error)]}) from None
    return parquet.parquet(frames, fields)


STREAMS: dict[str, Callable[..., AsyncGenerator[bytes, None]]] = {"jsonl": json_lines, "parquet": parquet}


class FramesView(GenericAPIView):
    also_needed: tuple[str, ...] = ("teleop.view_teleopframe",)
    filter_backends: list[type] = []
    pagination_class = None

    def parameters(self, kind, **context) -> dict:
        parameters = kind(data=self.request.query_params.dict(), context=context)
        parameters.is_valid(raise_exception=True)
        return parameters.validated_data

    def url_with(self, name: str, value) -> str:
        return replace_query_param(self.request.build_absolute_uri(), name, value)


@extend_schema_view(
    get=extend_schema(
        summary="A session's frames",
        description="""Returns pages ordered by frame_index, or the whole range as one stream.

`application/json` returns pages. `next` is the URL of the next page, and null after the last one. With `after` the
request follows a live session: it returns as soon as there are frames after that index, or without frames after `wait`
seconds. `next` is null once the session has ended and all its frames were returned.

`application/x-ndjson` (`format=jsonl`) returns each frame of the range as one line, as its robot sent it.
`application/vnd.apache.parquet` (`format=parquet`) returns one column of doubles for each number in the frames, in the
order of the keys: `observation.shoulder_pan.pos`, `observation.joint_positions.0`. A value is null if its frame has no
such number; text is omitted. A stream that ends early (chunked encoding without its last chunk) is incomplete: the
session was deleted, or the database connection was lost.""",
        parameters=[FramesParameters],
        responses={
            (200, "application/json"): serializers.FramesPageSerializer,
            (200, "application/x-ndjson"): OpenApiTypes.STR,
            (200, "application/vnd.apache.parquet"): OpenApiTypes.BINARY,
            406: problem("The Accept header names none of these media types."),
        },
        examples=[serializers.FRAMES],
    )
)
class SessionFramesView(NegotiatedMixin, FramesView):
    queryset = TeleopSession.objects.only("pk", "end_time", "robot_id")

    def get(self, request, pk):
        kind = request.accepted_renderer.format
        parameters = self.parameters(FramesParameters, format=kind)
        place = self.place(kind, parameters["wait"])  # first, so that a refused request costs no query
        session = self.get_object()
        frames = FrameRange(session.pk, parameters["start"], parameters["stop"], parameters["stride"])
        if kind != "json":
            return self.stream(session, frames, parameters["fields"], place)
        page = read_page([frames], parameters["limit"])
        check_fields(parameters["fields"], session.pk, [line for _, line in page.lines])
        if place and session.is_live and not page.lines:
            return streaming(place.held_for(self.wait(frames, parameters)), "application/json")
        return Response(self.body(page, frames, parameters, session.is_live))

    def place(self, kind: str, wait: int) -> "request_limits.Place | None":
        """Take a place if the request takes long; raise TooManyAtATime if no place is free."""
        from teleop.frames import request_limits  # here, as request_limits imports the counters

        if self.request.method != "GET" or (kind == "json" and not wait):
            return None
        return (request_limits.waits if kind == "json" else request_limits.downloads).take(self.request)

    def body(self, page: Page, frames: FrameRange, parameters: dict, is_live: bool) -> dict:
        """Build the body. `is_live` was read before the frames, so no frame committed before the end is missed."""
        last = page.last[1] if page.lines else frames.start - 1
        if "after" in parameters:
            following = self.url_with("after", last) if page.has_more or is_live else None
        else:
            following = self.url_with("start", frames.following(last)) if page.has_more else None
        return {"results": frames_of(page, parameters["fields"]), "next": following}

    async def wait(self, frames: FrameRange, parameters: dict) -> AsyncIterator[bytes]:
        """Yield the body once there are frames. Meanwhile the request has no database connection."""
        state = await new_frames().wait(frames.session_id, frames.start, parameters["wait"])
        page = Page([], False)
        if state:
            page = await database_sync_to_async(read_page)([frames], parameters["limit"])
        yield JSONRenderer().render(self.body(page, frames, parameters, state is None or state.is_live))

    def stream(self, session, frames: FrameRange, fields, place) -> StreamingHttpResponse:
        """Stream up to the frame that is newest now, so that the stream of a live session ends too."""
        renderer = self.request.accepted_renderer
        check_fields(fields, session.pk)
        frames = frames._replace(stop=min(frames.stop, session.frames.next_index()))
        content = place.held_for(chunked(STREAMS[renderer.format](frames, fields))) if place else ()
        response = streaming(content, renderer.media_type)
        response["Accept-Ranges"] = "none"  # the length is unknown until the last byte; a Range is answered with all
        response["Content-Disposition"] = f'attachment; filename="session-{session.pk}.{renderer.format}"'
        return response


def streaming(content, content_type: str) -> StreamingHttpResponse:
    """Build a streaming response; the view's connection returns to the pool now, not after the last byte."""
    release_connection()
    return StreamingHttpResponse(content, content_type=content_type)


@extend_schema_view(
    get=extend_schema(
        summary="A robot's frames",
        description="Returns frames of all sessions in this time, oldest session first, each ordered by frame_index.",
        parameters=[
            RobotFramesParameters,
            OpenApiParameter("from", MOMENT, description="Frames at or after this time."),
            OpenApiParameter("to", MOMENT, description="Frames before this time. It must be later than `from`."),
        ],
        responses=serializers.RobotFramesPageSerializer,
        examples=[serializers.ROBOT_FRAMES],
    )
)
class RobotFramesView(FramesView):
    also_needed = ("teleop.view_teleopsession", "teleop.view_teleopframe")
    queryset = Robot.objects.all()

    def get(self, request, pk):
        robot = self.get_object()
        parameters = self.parameters(RobotFramesParameters)
        cursor = parameters.get("cursor", "")
        ranges = ranges_of(robot, parameters.get("from"), parameters.get("to"), cursor)
        page = read_page(ranges, parameters["limit"])
        session_id, index = page.last if page.lines else (None, None)
        following = self.url_with("cursor", f"{session_id}.{index}") if page.has_more else None
        return Response({"results": frames_with_session(page), "next": following})


@extend_schema_view(
    get=extend_schema(
        summary="A session's columns, downsampled",
        description="Returns at most `points` points of each number, for plots. The points are chosen so that peaks "
        "remain (MinMaxLTTB), with a null in the middle of each gap. start and stop select a part of the session.",
        parameters=[SeriesParameters],
        responses=serializers.SeriesSerializer,
        examples=[serializers.SERIES],
    )
)
class SeriesView(FramesView):
    queryset = TeleopSession.objects.only("pk", "robot_id", "clock_steps")

    def get(self, request, pk):
        session = self.get_object()
        parameters = self.parameters(SeriesParameters)
        check_fields(parameters["fields"], session.pk)
        frames = FrameRange(session.pk, parameters["start"], parameters["stop"])
        clock_steps = session.clock_steps or []
        from teleop.frames import request_limits
        from teleop.frames.downsample import read_series  # 65 MB, likewise

        release_connection()
        try:
            with request_limits.turn_to_work():
                picture = read_series(frames, parameters["fields"], parameters["points"], clock_steps)
        except TooManyColumns as error:
            raise ValidationError({"fields": [str(error)]}) from None
        series = [column._asdict() for column in picture.series]
        return Response(picture._asdict() | {"series": series, "clock_steps": clock_steps})
