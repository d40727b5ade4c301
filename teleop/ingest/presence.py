"""Write the state of a worker's connections: heartbeats, releases, the sweep, refusals. Blocking calls.

Each call is a few statements, however many robots there are, and skips rows that another client has locked.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from django.db.models import Exists, OuterRef

from robots.meta_info import problem_with
from robots.models import Robot
from robots.querysets import HandshakeRefused
from teleop.background.kinds import KINDS
from teleop.background.models import Job
from teleop.clock_steps import merged, span
from teleop.ingest.transactions import bounded_transaction
from teleop.ingest.types import Heartbeat, HeartbeatResult, Release
from teleop.models import TeleopFrame, TeleopSession
from teleop.protocol import Code

LOCK_TIMEOUT_MS = 500
STATEMENT_TIMEOUT_MS = 5_000
COUNT_TIMEOUT_MS = 60_000  # a session of many millions of frames
MAX_SWEPT = 200  # sessions per sweep; the next sweep ends the rest

Bounds = Mapping[int, tuple]


def heartbeat(heartbeats: Sequence[Heartbeat]) -> HeartbeatResult:
    """Write frame counts and the robots' data on their sessions, each if its holder still has the session.

    A holder that is alive after all reopens its session after a sweep has ended it.
    """
    by_holder = {heartbeat.holder: heartbeat for heartbeat in heartbeats}
    robot_ids = {heartbeat.robot_id for heartbeat in heartbeats}
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS):
        held = TeleopSession.objects.held_by(heartbeats)
        saved = dict(held.lock_available().values_list("pk", "holder"))
        changes, refused = _changes([by_holder[holder] for holder in saved.values()])
        counts = [
            (pk, by_holder[holder].frame_count, by_holder[holder].first_timestamp) for pk, holder in saved.items()
        ]
        TeleopSession.objects.update_each(
            ("frame_count", "start_time"),
            counts,
            also="end_time = NULL, quality = NULL, trashed_at = NULL, updated_at = {now}",
        )
        TeleopSession.objects.update_each(("fps", "meta_info"), [(pk, *values) for pk, values in changes.items()])
        _save_clock_steps([by_holder[holder] for holder in saved.values()])
        failing = {heartbeat.robot_id for heartbeat in heartbeats if heartbeat.is_failing}
        Robot.objects.mark_seen(
            {pk: Robot.Status.ERROR if pk in failing else Robot.Status.ONLINE for pk in sorted(robot_ids)}
        )
        _record_errors(heartbeats)
        # This query takes no lock: a session that is locked is not lost.
        holders = set(saved.values())
        if len(saved) < len(heartbeats):
            holders = set(held.values_list("holder", flat=True))
        robots = list(Robot.objects.filter(pk__in=robot_ids).values_list("pk", "key_hash", "disabled"))
    key_hashes = {pk: key_hash for pk, key_hash, _ in robots}
    disabled = {pk for pk, _, is_disabled in robots if is_disabled}
    return HeartbeatResult(set(saved.values()), by_holder.keys() - holders, key_hashes, refused, disabled)


def holders(session_ids: Collection[int]) -> dict[int, str]:
    """Return the holder of each session; it is empty for a session that no connection has."""
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS, writes=False):
        return dict(TeleopSession.objects.filter(pk__in=session_ids).values_list("pk", "holder"))


def frame_bounds(session_ids: Sequence[int]) -> Bounds:
    """Return frame_count, first and last timestamp of each session, from its stored frames."""
    with bounded_transaction(LOCK_TIMEOUT_MS, COUNT_TIMEOUT_MS, writes=False):
        return TeleopFrame.objects.bounds(session_ids)


def count_below(ranges: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each (session_id, frame_index) the number of frames with a lower index."""
    with bounded_transaction(LOCK_TIMEOUT_MS, COUNT_TIMEOUT_MS, writes=False):
        return [TeleopFrame.objects.count_below(*bounds) for bounds in ranges]


def release(releases: Sequence[Release], bounds: Bounds) -> list[int | None]:
    """End the sessions that these holders still have; return the frame_count of each, None where its row is locked.

    A replaced holder does not change its session, but if the session has ended meanwhile it is counted again, because
    frames of the old connection may have been stored since. A session that was deleted has 0 frames.
    """
    lasts = [item.last for item in releases]
    counts: dict[int, int | None] = {last.session_id: 0 for last in lasts}
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS):
        existing = TeleopSession.objects.filter(pk__in=list(counts))
        counts |= dict.fromkeys(existing.values_list("pk", flat=True))
        locked = {pk: rest for pk, *rest in existing.lock_available().values_list("pk", "holder", "end_time")}
        held = {last.session_id: last for last in lasts if locked.get(last.session_id, [""])[0] == last.holder}
        changes, refused = _changes(list(held.values()))
        TeleopSession.objects.update_each(("fps", "meta_info"), [(pk, *values) for pk, values in changes.items()])
        _save_clock_steps(list(held.values()))
        _record_errors(lasts)
        # No connection is left to answer a meta_info that is too large, so staff read the error with the robot.
        Robot.objects.record_errors(
            {last.robot_id: (Code.INVALID_END, refused[last.holder]) for last in lasts if last.holder in refused}
        )
        over = [pk for pk, (_, end_time) in locked.items() if pk in held or end_time is not None]
        TeleopSession.objects.filter(pk__in=over).finish({pk: bounds[pk] for pk in over})
        TeleopSession.objects.update_each(("holder",), [(pk, "") for pk in held])
        counts |= {pk: bounds[pk][0] for pk in locked}
        failed = {item.last.robot_id for item in releases if item.failed}
        _mark_disconnected({last.robot_id for last in lasts} - failed, Robot.Status.OFFLINE)
        _mark_disconnected(failed, Robot.Status.ERROR)
    return [counts[last.session_id] for last in lasts]


def stale_sessions() -> list[int]:
    """Return live sessions without a heartbeat of their holder for 30 s: its worker was killed or is stopped."""
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS, writes=False):
        return list(TeleopSession.objects.stale().values_list("pk", flat=True)[:MAX_SWEPT])


def sweep(bounds: Bounds) -> int:
    """End those of these sessions that are still stale; return their number.

    A holder that is alive after all reopens its session with its next heartbeat.
    """
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS):
        stale = TeleopSession.objects.stale().filter(pk__in=list(bounds))
        swept = stale.finish({pk: bounds[pk] for pk in stale.values_list("pk", flat=True)})
        _mark_disconnected(Robot.objects.unresponsive().values_list("pk", flat=True), Robot.Status.OFFLINE)
    return swept


def is_work_left() -> bool:
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS, writes=False):
        is_begun = Job.objects.filter(kind__in=KINDS).unsettled().exists()
        return is_begun or any(kind.due().exists() for kind in KINDS.values())


def next_work_s() -> float | None:
    """Return in how many seconds work is due that now waits for its time, such as a retry; None if none does."""
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS, writes=False):
        waits_s = [kind.next_due_s() for kind in KINDS.values()]
    return min((wait_s for wait_s in waits_s if wait_s is not None), default=None)


def note_refusals(refusals: Mapping[str, HandshakeRefused]) -> None:
    """Keep the reasons of refused handshakes, by robot, where staff can read them."""
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS):
        Robot.objects.record_errors({pk: (refusal.code, refusal.detail) for pk, refusal in refusals.items()})


def _changes(heartbeats: Sequence[Heartbeat]) -> tuple[dict[int, tuple], dict[str, str]]:
    """Merge the robots' fps and meta_info into their sessions; the caller has locked the rows.

    Returns `(fps, meta_info)` by session, None for a value that stays, and by holder the reason why its meta_info is
    refused: the parser bounds one message, and only here the merged result of many is known.
    """
    by_session = {heartbeat.session_id: heartbeat for heartbeat in heartbeats if heartbeat.meta_info or heartbeat.fps}
    changes, refused = dict[int, tuple](), dict[str, str]()
    if not by_session:
        return changes, refused
    for session in TeleopSession.objects.filter(pk__in=by_session).only("meta_info", "staff_labels"):
        heartbeat = by_session[session.pk]
        session.merge_meta(heartbeat.meta_info)
        problem = problem_with(session.meta_info) if heartbeat.meta_info else None
        if problem:
            refused[heartbeat.holder] = f"the merged meta_info would be {problem}"
        changes[session.pk] = (heartbeat.fps, None if problem or not heartbeat.meta_info else session.meta_info)
    return changes, refused


def _save_clock_steps(heartbeats: Sequence[Heartbeat]) -> None:
    """Add the steps of the robots' clocks to their sessions; the caller has locked the rows.

    A step back may begin times before start_time, so that a filter by time would not find the live session.
    """
    found = {heartbeat.session_id: heartbeat.clock_steps for heartbeat in heartbeats if heartbeat.clock_steps}
    rows = []
    if found:
        sessions = TeleopSession.objects.filter(pk__in=found)
        for pk, start_time, known in sessions.values_list("pk", "start_time", "clock_steps"):
            steps = merged(known or (), found[pk])
            rows.append((pk, steps, span(start_time, start_time, steps)[0]))
    TeleopSession.objects.update_each(("clock_steps", "start_time"), rows)


def _record_errors(heartbeats: Iterable[Heartbeat]) -> None:
    Robot.objects.record_errors({heartbeat.robot_id: heartbeat.error for heartbeat in heartbeats if heartbeat.error})


def _mark_disconnected(robot_ids: Iterable[str], status: str) -> None:
    """Write the robots' new status, except for robots that have another live session."""
    if robot_ids := list(robot_ids):
        live = TeleopSession.objects.live().filter(robot=OuterRef("pk"))
        gone = Robot.objects.filter(~Exists(live), pk__in=robot_ids).lock_available()
        Robot.objects.filter(pk__in=list(gone.values_list("pk", flat=True))).update(status=status)
