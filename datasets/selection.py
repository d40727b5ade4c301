"""Select sessions for an export, by the filters of GET /sessions or by their ids."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.core.exceptions import TooManyFieldsSent
from django.db.models import Count, Min, Q, QuerySet, Sum
from django.http import QueryDict

from datasets import manifest
from datasets.options import Options
from datasets.recording.cameras import is_chosen
from datasets.recording.names import list_of
from datasets.recording.rates import common_rate
from datasets.types import Refused
from teleop.frames.data import newest_data_bytes
from teleop.models import TeleopSession
from teleop.querysets import DURATION
from videos.models import VideoChunk

MAX_SESSIONS = 10_000
MAX_ID = 2**31 - 1
WITHOUT_RATE = ("mcap", "parquet")  # they have the frames as they were recorded
CAN_BE_EXPORTED = Q(end_time__isnull=False, frame_count__gt=0)
# Of the bytes of a frame's JSON, 460 for 12 joints, a Parquet file has 45. MCAP keeps JSON.
PARQUET_SHARE = 0.1
PARTS_SHARE = 8 / 19  # a number has 8 bytes in the temporary parts of a Parquet export, and about 19 in JSON
INDEX_BYTES, PARTS_INDEX_BYTES = 10, 24  # of a row: its indexes and times


def select(where: str | Mapping[str, Any] = "", session_ids: Sequence[int] | None = None) -> QuerySet[TeleopSession]:
    """Return the ended sessions with frames, oldest first.

    `where` are filters of GET /sessions, as in an address (`task=Fold&success=true`) or by name; live sessions and
    sessions without frames do not match. Of `session_ids` each must be exportable. Raises Refused.
    """
    if session_ids is not None:
        if where:
            raise Refused("filters and a list of sessions are given; one of them expected")
        sessions = _by_ids(session_ids)
    else:
        matching = _by_filters(where)
        sessions = matching.filter(CAN_BE_EXPORTED)
        if not (count := sessions.count()):
            raise Refused(_why_none(matching))
        _check_count(count)
    return sessions.select_related("robot").order_by("start_time", "pk")


def estimate(sessions: QuerySet[TeleopSession], options: Options) -> dict[str, int | float]:
    """Return `sessions`, `episodes` (at least), `hours`, `frames` and `bytes`, from the rows of sessions and films.

    Frames are not read, and films count with the size that they have now. `bytes` is what the disk needs meanwhile:
    a Parquet export has temporary parts besides its file.
    """
    rows = sessions.order_by().aggregate(
        count=Count("pk"), frame_sum=Sum("frame_count", default=0), time=Sum(DURATION, default=timedelta())
    )
    chunks = VideoChunk.objects.filter(session__in=sessions.order_by().values("pk")).order_by()
    sizes = chunks.values_list("camera_key").annotate(bytes=Sum("size"))
    films = sum(size for camera, size in sizes if is_chosen(camera, options) and options.format != "parquet")
    return {
        "sessions": rows["count"],
        "episodes": rows["count"],
        "hours": rows["time"].total_seconds() / 3600,
        "frames": rows["frame_sum"],
        "bytes": round(rows["frame_sum"] * _row_bytes(options)) + films,
    }


def _row_bytes(options: Options) -> float:
    data_bytes = newest_data_bytes()
    if options.format == "mcap":
        return INDEX_BYTES + data_bytes
    parts = PARTS_INDEX_BYTES + PARTS_SHARE * data_bytes if options.format == "parquet" else 0
    return INDEX_BYTES + PARQUET_SHARE * data_bytes + parts


def check_rates(sessions: QuerySet[TeleopSession], options: Options) -> None:
    """Raise Refused if the sessions have no common rate, those of each robot if each gets its own dataset."""
    if options.format in WITHOUT_RATE:
        return
    rates = sessions.order_by().values_list("robot", "fps").annotate(first=Min("pk")).order_by("-first")
    of_datasets: dict[str, dict[int, str]] = defaultdict(dict)
    for robot, fps, first in rates:
        of_datasets[robot if options.split_by == "robot" else ""][fps] = f"session {first}"
    for names in of_datasets.values():
        common_rate(names, options)


def check_cameras(sessions: QuerySet[TeleopSession], options: Options) -> None:
    """Raise Refused if no session has a film of a camera that the options name."""
    if options.cameras:
        chunks = VideoChunk.objects.filter(session__in=sessions.order_by().values("pk")).order_by()
        manifest.check_cameras(set(chunks.values_list("camera_key", flat=True).distinct()), options)


def _by_ids(session_ids: Sequence[int]) -> QuerySet[TeleopSession]:
    for number in session_ids:
        if type(number) is not int or not 1 <= number <= MAX_ID:
            raise Refused(f"sessions has {number!r:.40}; ids from 1 to {MAX_ID} expected")
    wanted = set(session_ids)
    if not wanted:
        raise Refused("the list of sessions is empty")
    _check_count(len(wanted))
    sessions = TeleopSession.objects.filter(pk__in=wanted)
    found = {pk: (end, count) for pk, end, count in sessions.values_list("pk", "end_time", "frame_count")}
    _refuse("there is no session", sorted(wanted - found.keys()))
    _refuse("restore from the trash first: session", sorted(sessions.in_trash().values_list("pk", flat=True)))
    _refuse("end live sessions first:", sorted(pk for pk, (end, _) in found.items() if end is None))
    _refuse("there are no frames in session", sorted(pk for pk, (_, count) in found.items() if not count))
    return sessions


def _refuse(reason: str, session_ids: Sequence[int]) -> None:
    if session_ids:
        raise Refused(f"{reason} {list_of(session_ids)}")


def _by_filters(where: str | Mapping[str, Any]) -> QuerySet[TeleopSession]:
    from teleop.api.filters import SessionFilter

    given = _parsed(where) if isinstance(where, str) else where
    known = SessionFilter.base_filters
    for name, value in given.items():
        if name not in known:
            raise Refused(f"{name!r:.60} is no filter of sessions; {', '.join(known)} expected")
        if value == "":
            raise Refused(f"filter {name} is empty; give it a value or omit it")
    filters = SessionFilter({name: _text(name, value) for name, value in given.items()}, TeleopSession.objects.all())
    if not filters.is_valid():
        raise Refused(_problems(filters.errors))
    return _filtered(filters)


def _parsed(where: str) -> dict[str, str]:
    try:
        given = QueryDict(where)
    except TooManyFieldsSent:
        raise Refused("where has too many filters") from None
    for name, values in given.lists():
        if len(values) > 1:
            raise Refused(f"filter {name} is given {len(values)} times; once expected")
    return given.dict()


def _filtered(filters: Any) -> QuerySet[TeleopSession]:
    from rest_framework.exceptions import ValidationError

    try:
        return filters.qs
    except ValidationError as error:  # of two filters that contradict each other
        raise Refused(_problems(error.detail)) from None


def _problems(errors: Mapping[str, Sequence[Any]]) -> str:
    found = [f"{name}: {' '.join(map(str, of_one))}" for name, of_one in errors.items()]
    return f"a filter has an unusable value: {'; '.join(found)}"


def _text(name: str, value: Any) -> str:
    """Return the value as an address has it; raises Refused."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not isinstance(value, str | int | float) or not _is_utf8(text):
        raise Refused(f"filter {name} is {value!r:.60}; a text, a number, true or false expected")
    return text


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates, from JSON
        return False
    return True


def _why_none(matching: QuerySet[TeleopSession]) -> str:
    live, without = matching.filter(end_time=None).count(), matching.filter(end_time__isnull=False).count()
    if not live and not without:
        return "no session matches"
    return f"no session that can be exported matches: {live} live sessions, {without} sessions without frames"


def _check_count(count: int) -> None:
    if count > MAX_SESSIONS:
        raise Refused(
            f"{count} sessions are selected; at most {MAX_SESSIONS} expected. Select fewer by `from` and `to`"
        )
