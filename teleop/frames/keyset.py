"""Keyset pages of frames. No OFFSET and no COUNT: the last page of a million frames costs as much as the first."""

import itertools
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.db.models import Q
from rest_framework.exceptions import ValidationError

from robots.models import Robot
from teleop.frames.fields import HEAD, is_selected, names_of, select
from teleop.frames.sql import BLOCK_BYTES, FrameRange, last_index, read_lines
from teleop.models import TeleopFrame

MAX_NAMES_SHOWN = 60


class Page(NamedTuple):
    """Lines, each with its session's id; `has_more` if more lines may follow the last one."""

    lines: list[tuple[int, bytes]]
    has_more: bool

    @property
    def last(self) -> tuple[int, int]:
        """Return the session id and the index of the last line."""
        session_id, line = self.lines[-1]
        return session_id, last_index(line)


def read_page(ranges: Iterable[FrameRange], limit: int) -> Page:
    """Read a page; it ends early if its frames are large, and then the next page has more frames or is empty."""
    lines: list[tuple[int, bytes]] = []
    size = 0
    for frames in ranges:
        found = read_lines(frames, limit + 1 - len(lines))
        lines += [(frames.session_id, line) for line in found]
        size += sum(map(len, found))
        if len(lines) > limit or size > BLOCK_BYTES // 2:
            return Page(lines[:limit], True)
    return Page(lines, False)


def ranges_of(robot: Robot, begin: datetime | None, end: datetime | None, cursor: str = "") -> Iterator[FrameRange]:
    """Yield the robot's sessions that overlap the times, oldest first, from the cursor on; none in the trash."""
    sessions = robot.sessions.not_trashed().overlapping(begin, end).order_by("start_time", "pk")
    start = 0
    if cursor:
        session_id, index = map(int, cursor.split("."))
        at = robot.sessions.filter(pk=session_id).first()
        if at is None:
            raise ValidationError(
                {"cursor": [f"cursor is {cursor}; robot {robot.pk} no longer has session {session_id}"]}
            )
        sessions = sessions.filter(Q(start_time__gt=at.start_time) | Q(start_time=at.start_time, pk__gte=at.pk))
        start = index + 1
    for session_id in sessions.values_list("pk", flat=True):
        yield FrameRange(session_id, start=start if cursor and session_id == at.pk else 0, begin=begin, end=end)


def frames_of(page: Page, fields: Iterable[str]) -> list[Any]:
    """Return the frames for the JSON renderer: the stored lines, or the parts of them that the fields select."""
    if not fields:
        return [orjson.Fragment(line) for _, line in page.lines]
    return [select(orjson.loads(line), (*HEAD, *fields)) for _, line in page.lines]


def frames_with_session(page: Page) -> list[dict[str, Any]]:
    """Return frames with the server's `session_id` first; it replaces a key of that name from a robot."""
    frames = [({"session_id": session_id}, orjson.loads(line)) for session_id, line in page.lines]
    return [session | frame | session for session, frame in frames]


def check_fields(fields: Iterable[str], session_id: int, lines: Iterable[bytes] = ()) -> None:
    """Raise ValidationError if a field is neither in these lines nor in the session's first or last frame."""
    unknown, names = list(fields), dict[str, None]()
    for line in itertools.chain(lines, _ends(session_id)):
        if not unknown:
            return
        names |= dict.fromkeys(names_of(orjson.loads(line)))
        unknown = [field for field in unknown if not any(is_selected(name, [field]) for name in names)]
    if unknown and names:
        known = ", ".join([name for name in names if name not in HEAD][:MAX_NAMES_SHOWN])
        raise ValidationError({"fields": [f"fields has {field[:100]}; {known} expected" for field in unknown]})


def _ends(session_id: int) -> Iterator[bytes]:
    yield from read_lines(FrameRange(session_id), 1)
    last = TeleopFrame.objects.of_session(session_id).next_index() - 1
    yield from read_lines(FrameRange(session_id, start=last), 1)
