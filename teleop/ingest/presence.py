"""Who is here, and whose session it is: blocking calls, made in the worker's database thread."""

import threading
from collections.abc import Iterable
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from robots.meta import problem_with
from robots.models import Robot
from robots.querysets import NotAdmitted
from teleop.ingest import store
from teleop.ingest.connection import Beat, Opened
from teleop.models import TeleopFrame, TeleopSession
from teleop.protocol import Code


class Holds(NamedTuple):
    """What a beat found: the holders that still hold their sessions, each robot's key hash, and by holder why what
    it said of its session was refused.
    """

    holders: set[str]
    key_hashes: dict[str, str]
    refused: dict[str, str]


def open_session(
    robot_id: str, key: str | None, session_key: str, holder: str, address: str | None, abandoned: threading.Event
) -> tuple[Opened | None, str]:
    """The session as `Opened`, and the holder it was taken from ("" if none); raises NotAdmitted.

    Where nobody waits for it any more, as the database took too long or the client has left, there is no `Opened` and
    the session goes back to whoever had it: that may be the robot's next connection, on another worker.
    """
    if settings.ROBOT_AUTH == "open":
        robot, _ = Robot.objects.get_or_create(pk=robot_id)
    else:
        robot = Robot.objects.admit(robot_id, key)
    session, previous = TeleopSession.objects.hold(robot, session_key, holder)
    Robot.objects.filter(pk=robot_id).update(ip_address=address)
    Robot.objects.heard_of([robot_id], Robot.Status.ONLINE)
    next_index = next_frame_index(session.pk)
    key_hash = robot.key_hash if settings.ROBOT_AUTH == "key" else ""  # of the key that let it in
    opened = Opened(session.pk, session_key, robot_id, key_hash, holder, next_index, session.frame_count)
    if abandoned.is_set():
        TeleopSession.objects.give_back(session, holder)
        return None, ""
    return opened, previous


def beat(beats: list[Beat]) -> Holds:
    """Heartbeats, frame counts, and what robots have said of their sessions: a few statements for all of a worker's."""
    refused = _write_down(beats)
    failing = {each.robot_id for each in beats if each.is_failing}
    robot_ids = {each.robot_id for each in beats}
    for ids, status in ((robot_ids - failing, Robot.Status.ONLINE), (failing, Robot.Status.ERROR)):
        if ids:
            Robot.objects.heard_of(sorted(ids), status)
    store.beat(beats)
    holders = set(TeleopSession.objects.held_by(beats).values_list("holder", flat=True))
    return Holds(holders, dict(Robot.objects.filter(pk__in=robot_ids).values_list("pk", "key_hash")), refused)


def next_frame_index(session_id: int) -> int:
    return TeleopFrame.objects.filter(session=session_id).next_index()


class Release(NamedTuple):
    """The last of a connection; `failed`: it was closed for the robot's own fault."""

    last: Beat
    failed: bool


def release(releases: list[Release]) -> dict[int, int]:
    """Ends the sessions that these holders still have; returns the frame_count of each session.

    A holder that was replaced leaves its session alone, but where that has ended meanwhile it is counted again, as
    frames of the old connection may have been stored since.
    """
    lasts = [each.last for each in releases]
    sessions = TeleopSession.objects.filter(pk__in=[last.session_id for last in lasts])
    refused = _write_down(lasts)
    for last in lasts:
        if last.holder in refused:  # nobody hears it any more
            Robot.objects.note_error(last.robot_id, Code.INVALID_END, refused[last.holder])
    sessions.filter(Q(holder__in=[last.holder for last in lasts]) | Q(end_time__isnull=False)).finish()
    failed = {each.last.robot_id for each in releases if each.failed}
    _gone({last.robot_id for last in lasts} - failed, Robot.Status.OFFLINE)
    _gone(failed, Robot.Status.ERROR)
    deleted = {last.session_id: 0 for last in lasts}
    return deleted | dict(sessions.values_list("pk", "frame_count"))


def sweep() -> int:
    """Ends the sessions that a killed worker left open; returns how many.

    A holder that is alive after all reopens its own with its next beat.
    """
    swept = TeleopSession.objects.stale().finish()
    _gone(Robot.objects.silent().values_list("pk", flat=True), Robot.Status.OFFLINE)
    return swept


def is_quality_due() -> bool:
    return TeleopSession.objects.quality_due().exists()


def note_refusals(refusals: dict[str, NotAdmitted]) -> None:
    with transaction.atomic():
        for robot_id in sorted(refusals):  # in one order everywhere, so that no two workers wait for each other
            Robot.objects.note_error(robot_id, refusals[robot_id].code, refusals[robot_id].detail)


def _write_down(beats: list[Beat]) -> dict[str, str]:
    """What robots have said of their sessions, and what was wrong with it: news is rare, so a statement each.

    Returns by holder what was refused: one message is bounded at the door, what many make of meta_info only here.
    """
    refused = {}
    for each in beats:
        if each.meta_info or each.fps:
            with transaction.atomic():
                session = TeleopSession.objects.select_for_update().held_by([each]).first()
                if session is not None:
                    session.fps = each.fps or session.fps
                    session.merge_meta(each.meta_info)
                    problem = problem_with(session.meta_info) if each.meta_info else None
                    if problem:
                        refused[each.holder] = f"meta_info would be {problem}"
                    session.save(update_fields=["fps"] if problem else ["fps", "meta_info"])
        if each.error:
            Robot.objects.note_error(each.robot_id, *each.error)
    return refused


def _gone(robot_ids: Iterable[str], status: str) -> None:
    """The robots' new status, but for those that have another session live."""
    live = TeleopSession.objects.live().filter(robot=OuterRef("pk"))
    if robot_ids := list(robot_ids):
        Robot.objects.filter(~Exists(live), pk__in=robot_ids).update(status=status)
