"""Who is here, and whose session it is: blocking calls, made in the worker's database thread."""

from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef

from robots.models import Robot
from teleop.ingest.connection import Beat, Opened
from teleop.models import TeleopSession


class Holds(NamedTuple):
    """What a beat found: the holders that still hold their sessions, and each robot's key hash."""

    holders: set[str]
    key_hashes: dict[str, str]


def open_session(robot_id: str, key: str | None, session_key: str, holder: str, address: str | None):
    """The session as `Opened`, and the holder it was taken from ("" if none); raises NotAdmitted."""
    if settings.ROBOT_AUTH == "open":
        robot, _ = Robot.objects.get_or_create(pk=robot_id)
    else:
        robot = Robot.objects.admit(robot_id, key)
    session, previous = TeleopSession.objects.hold(robot, session_key, holder)
    Robot.objects.filter(pk=robot_id).update(ip_address=address)
    Robot.objects.heard_of([robot_id], Robot.Status.ONLINE)
    next_index = session.frames.next_index()
    opened = Opened(session.pk, session_key, robot_id, robot.key_hash, holder, next_index, session.frame_count)
    return opened, previous


def beat(beats: list[Beat]) -> Holds:
    """Heartbeats, frame counts, and what robots have said of their sessions: a few statements for all of a worker's."""
    for each in beats:
        if each.meta_info or each.fps:
            _write_meta(each)
        if each.error:
            Robot.objects.note_error(each.robot_id, *each.error)
    failing = {each.robot_id for each in beats if each.is_failing}
    robot_ids = {each.robot_id for each in beats}
    for ids, status in ((robot_ids - failing, Robot.Status.ONLINE), (failing, Robot.Status.ERROR)):
        if ids:
            Robot.objects.heard_of(sorted(ids), status)
    holders = TeleopSession.objects.beat(beats)
    return Holds(holders, dict(Robot.objects.filter(pk__in=robot_ids).values_list("pk", "key_hash")))


def release(last: Beat, failed: bool) -> int:
    """Ends the session if this holder still has it; returns its frame_count.

    A holder that was replaced leaves it alone, but where the session has ended meanwhile it is counted again, as
    frames of this connection may have been stored since.
    """
    with transaction.atomic():
        session = TeleopSession.objects.select_for_update().get(pk=last.session_id)
        if session.holder == last.holder:
            _merge(session, last)
        if session.holder == last.holder or not session.is_live:
            session.finish()
    if last.error:
        Robot.objects.note_error(last.robot_id, *last.error)
    _gone([last.robot_id], Robot.Status.ERROR if failed else Robot.Status.OFFLINE)
    return session.frame_count


def sweep() -> int:
    """Ends the sessions that a killed worker left open; returns how many. A holder that is alive after all reopens its own."""
    swept = 0
    for pk in list(TeleopSession.objects.stale().values_list("pk", flat=True)):
        with transaction.atomic():
            session = TeleopSession.objects.stale().select_for_update().filter(pk=pk).first()
            if session is not None:  # no other worker was faster
                session.finish()
                swept += 1
    _gone(list(Robot.objects.silent().values_list("pk", flat=True)), Robot.Status.OFFLINE)
    return swept


def note_refusal(robot_id: str, code: str, detail: str) -> None:
    Robot.objects.note_error(robot_id, code, detail)


def _write_meta(beat: Beat) -> None:
    with transaction.atomic():
        session = TeleopSession.objects.select_for_update().filter(pk=beat.session_id, holder=beat.holder).first()
        if session is not None:
            _merge(session, beat)


def _merge(session: TeleopSession, beat: Beat) -> None:
    session.merge_meta(beat.meta_info)
    session.fps = beat.fps or session.fps
    session.save(update_fields=["meta_info", "staff_labels", "fps"])


def _gone(robot_ids: list[str], status: str) -> None:
    live = TeleopSession.objects.live().filter(robot=OuterRef("pk"))
    Robot.objects.filter(~Exists(live), pk__in=robot_ids).update(status=status)
