"""Authenticate robots and assign sessions: blocking calls for groups of handshakes, in the database threads."""

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings

from robots.client_address import counted_address
from robots.models import Robot
from robots.querysets import HandshakeRefused, RobotDisabled
from teleop.asgi.connection_limits import LimitExceeded, new_robots
from teleop.ingest.transactions import bounded_transaction, wait_for_standby
from teleop.ingest.types import ANY_ID, EPOCH, Claim, Handshake, SessionLease
from teleop.models import DeletedSession, TeleopFrame, TeleopSession

SESSION_HELD = "session_held"
SESSION_GONE = "session_gone"
CLAIMED = ("robot_id", "key", "holder", "end_time", "frame_count", "fps")  # the columns that a claim reads
LOCK_TIMEOUT_MS = 500
STATEMENT_TIMEOUT_MS = 5_000


def authenticate(handshakes: Sequence[Handshake]) -> list[str | HandshakeRefused]:
    """Return for each handshake the hash of its accepted key ("" if no key is required), or the refusal."""
    if settings.ROBOT_AUTH == "open":
        return _bound_new_robots(handshakes)
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS, writes=False):
        found = Robot.objects.authenticate([(handshake.robot_id, handshake.key) for handshake in handshakes])
    return [robot if isinstance(robot, HandshakeRefused) else robot.key_hash for robot in found]


def _bound_new_robots(handshakes: Sequence[Handshake]) -> list[str | HandshakeRefused]:
    """In open mode, refuse disabled robots, and new ones of an address that registered too many within the minute."""
    robot_ids = {handshake.robot_id for handshake in handshakes}
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS, writes=False):
        known = dict(Robot.objects.filter(pk__in=robot_ids).values_list("pk", "disabled"))
    results: list[str | HandshakeRefused] = []
    for handshake in handshakes:
        address = counted_address(handshake.address)
        try:
            if handshake.robot_id not in known:
                new_robots.check(address)
                new_robots.note(address)
                known[handshake.robot_id] = False
            results.append(RobotDisabled(handshake.robot_id) if known[handshake.robot_id] else "")
        except LimitExceeded as refusal:
            results.append(refusal)
    return results


def claim(handshakes: Sequence[Handshake], key_hashes: Sequence[str]) -> list[Claim | LimitExceeded | None]:
    """Create each robot's session of that key if it is missing, and assign it to the handshake's holder.

    A few statements serve all handshakes; no two handshakes may name the same session. A result is None if another
    client has locked the session's row, and the refusal of a handshake that must not take a session that is held, or
    that expects a session that is gone.
    """
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS):
        existing = _existing([_session_key(handshake) for handshake in handshakes])
        refused = _gone(handshakes, existing)
        keys = {key: handshake for handshake in handshakes if (key := _session_key(handshake)) not in refused}
        robot_ids = {robot_id for robot_id, _ in keys}
        if settings.ROBOT_AUTH == "open":
            known = set(Robot.objects.filter(pk__in=robot_ids).values_list("pk", flat=True))
            Robot.objects.bulk_create([Robot(pk=pk) for pk in sorted(robot_ids - known)], ignore_conflicts=True)
        # Insert only missing sessions: ON CONFLICT would wait for a transaction that is just deleting the session.
        TeleopSession.objects.bulk_create(
            [_session(handshake) for key, handshake in keys.items() if key not in existing], ignore_conflicts=True
        )
        found = {
            (session.robot_id, session.key): session
            for session in TeleopSession.objects.with_keys(list(keys)).lock_available().only(*CLAIMED)
        }
        resumed = {key: session for key, session in found.items() if not _is_new(session, keys[key])}
        held = _held([session for key, session in resumed.items() if not keys[key].takes_over])
        taken = [(session.pk, keys[key].holder) for key, session in resumed.items() if session.pk not in held]
        TeleopSession.objects.update_each(
            ("holder",), taken, also="end_time = NULL, quality = NULL, trashed_at = NULL, updated_at = {now}"
        )
        addresses = {handshake.robot_id: handshake.address for handshake in handshakes}
        Robot.objects.mark_seen(dict.fromkeys(sorted(robot_ids), Robot.Status.ONLINE), addresses)
    refused |= {key: _refusal(session) for key, session in resumed.items() if session.pk in held}
    return [
        refused.get(key := _session_key(handshake)) or _claim(handshake, key_hash, found.get(key))
        for handshake, key_hash in zip(handshakes, key_hashes, strict=True)
    ]


def existing_sessions(handshakes: Sequence[Handshake]) -> list[bool]:
    """Return for each handshake whether its session exists already."""
    keys = [_session_key(handshake) for handshake in handshakes]
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS, writes=False):
        existing = _existing(keys)
    return [key in existing for key in keys]


def _session_key(handshake: Handshake) -> tuple[str, str]:
    return handshake.robot_id, handshake.session_key


def _existing(keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return the ids of those of these sessions that exist."""
    found = TeleopSession.objects.with_keys(keys).values_list("robot_id", "key", "pk")
    return {(robot_id, key): pk for robot_id, key, pk in found}


def _gone(
    handshakes: Sequence[Handshake], existing: dict[tuple[str, str], int]
) -> dict[tuple[str, str], LimitExceeded]:
    """Return the refusals of the handshakes that expect a session that was deleted, or that has another id."""
    expected = {_session_key(each): each.expected_id for each in handshakes if each.expected_id is not None}
    missing = [key for key in expected if key not in existing]
    deleted = DeletedSession.objects.with_keys(missing).values_list("robot_id", "key")
    details = dict.fromkeys(deleted, "was deleted")
    for key, session_id in expected.items():
        if existing.get(key, session_id) != session_id != ANY_ID:
            details[key] = f"has the id {existing[key]}; {session_id} expected"
    return {key: LimitExceeded(410, SESSION_GONE, f"session {key[1]} {detail}") for key, detail in details.items()}


def _held(sessions: Sequence[TeleopSession]) -> set[int]:
    """Return those of these sessions that a live connection has; the caller has locked their rows."""
    found = TeleopSession.objects.filter(pk__in=[session.pk for session in sessions])
    return set(found.held().values_list("pk", flat=True)) if sessions else set()


def _refusal(session: TeleopSession) -> LimitExceeded:
    return LimitExceeded(409, SESSION_HELD, f"another connection has session {session.key}, and takeover=no")


def _session(handshake: Handshake) -> TeleopSession:
    return TeleopSession(robot_id=handshake.robot_id, key=handshake.session_key, holder=handshake.holder)


def _is_new(session: TeleopSession, handshake: Handshake) -> bool:
    return session.holder == handshake.holder


def _claim(handshake: Handshake, key_hash: str, session: TeleopSession | None) -> Claim | None:
    if session is None:
        return None
    lease = SessionLease(
        *(session.pk, session.key, session.robot_id, key_hash, handshake.holder, session.frame_count),
        fps=session.fps,
    )
    is_new = _is_new(session, handshake)
    return Claim(lease, is_new, session.is_live, "" if is_new else session.holder)


def last_frames(session_ids: Sequence[int]) -> list[tuple[int, int] | None]:
    """Return for each session its highest stored frame_index, and that frame's timestamp in unix microseconds.

    A robot takes frames up to this index for acknowledged, so a synchronous standby must have them: see
    wait_for_standby.
    """
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS, writes=False):
        lasts = TeleopFrame.objects.lasts(session_ids)
        wait_for_standby()
    return [
        None if timestamp is None else (index, (timestamp - EPOCH) // timedelta(microseconds=1))
        for index, timestamp in map(lasts.__getitem__, session_ids)
    ]


def release(claims: Sequence[Claim]) -> list[bool | None]:
    """Undo these claims; return False where another handshake has taken the session since, None where it is locked.

    A session that was live returns to its previous holder, which still has frames of it; any other session ends.
    """
    by_id = {claim.lease.session_id: claim for claim in claims}
    with bounded_transaction(LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS):
        held = TeleopSession.objects.held_by([claim.lease for claim in claims])
        still_held = set(held.values_list("pk", flat=True))
        held = list(held.lock_available().values_list("pk", flat=True))
        back = [(pk, by_id[pk].previous) for pk in held if by_id[pk].was_live and by_id[pk].previous]
        TeleopSession.objects.update_each(("holder",), back)
        rest = [pk for pk in held if pk not in dict(back)]
        TeleopSession.objects.filter(pk__in=rest).finish()
    return [True if pk in held else None if pk in still_held else False for pk in by_id]
