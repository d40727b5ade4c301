"""Find the rows at fault in a group that failed as a whole, and store all others, in one transaction."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from django.db import DatabaseError, DataError, IntegrityError, connection, transaction

from teleop.ingest.transactions import bounded_transaction, is_connection_lost, sqlstate, wait_for_standby
from teleop.ingest.types import Outcome, Refused, Row
from teleop.models import TeleopFrame, TeleopSession
from teleop.protocol import MAX_FRAME_INDEX, Code

LOCK_TIMEOUT_MS = 10  # sessions with a locked row are excluded before; this is for rows that another worker inserts
MAX_SUSPECTS = 64  # of one group: each costs a few round trips, while the frames of all others wait
FAILURES_BEFORE_GIVING_UP = 3  # sessions that failed with no row at fault and no row stored: the trouble is general

# PostgreSQL's error classes that can be a row's own fault: data, integrity, WITH CHECK OPTION, a limit is exceeded.
ROW_FAULT_CLASSES = ("22", "23", "44", "54")
RAISE_EXCEPTION = "P0001"  # a trigger of the operator refuses the row
INSUFFICIENT_PRIVILEGE = "42501"
ROW_SECURITY_CHECK = "ExecWithCheckOptions"  # the function that raises 42501 for a row; a missing GRANT has another

Insert = Callable[[Sequence[Row]], None]


def write(rows: Sequence[Row], inserts: Sequence[Insert]) -> Outcome:
    """Store all rows of a group that can be stored, in one transaction.

    - A row that is stored already, with the same timestamp, counts as stored; with another timestamp it is refused.
    - A row is refused if the error is the row's fault and the database accepts another row: one of this group, or else
      a copy of one that is stored. Otherwise the trouble is general, and refusing would lose data.
    - A session with a locked row waits, and so do the rows of a session from the first that fails for another
      reason: the stored frames stay a prefix of the sent frames.

    `inserts` store rows within the transaction: they are tried in turn with all rows, the last one with parts. Raises
    the database's error if no row was stored or refused.
    """
    group = _Group(inserts)
    with bounded_transaction(LOCK_TIMEOUT_MS):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # an error at COMMIT would not name its row
                # Held to the end; a rolled back savepoint would release its lock, and a trigger that is dropped between
                # two rows would make the first one look at fault.
                cursor.execute(f"LOCK TABLE {TeleopFrame._meta.db_table} IN ROW EXCLUSIVE MODE")
        group.store(rows)
        wait_for_standby()
    return group.outcome()


class _Group:
    """State of the rows of one group; each method that stores rows adds to it."""

    def __init__(self, inserts: Sequence[Insert]):
        self._inserts = inserts
        self._refused: list[Refused] = []
        self._waiting: list[Row] = []
        self._suspects: list[tuple[Row, str]] = []
        self._stored_before: Counter[int] = Counter()
        self._inserted = 0
        self._reason = ""
        self._error: DatabaseError | None = None

    def outcome(self) -> Outcome:
        return Outcome(self._refused, self._stored_before, self._waiting, self._reason)

    def store(self, rows: Sequence[Row]) -> None:
        sessions: defaultdict[int, list[Row]] = defaultdict(list)
        for row in rows:
            sessions[row.session_id].append(row)
        existing, locked = _lock_sessions(list(sessions))
        for session_id in locked:
            self._wait(sessions.pop(session_id), f"another client has locked session {session_id}")
        for session_id in sessions.keys() - existing:
            self._suspects += [(row, f"session {session_id} does not exist") for row in sessions.pop(session_id)]
        together = [row for each in sessions.values() for row in each]
        if together and not any(self._is_stored(together, insert) for insert in self._inserts):
            self._store_by_session(list(sessions.values()))
        self._judge_suspects()

    def _is_stored(self, rows: Sequence[Row], insert: Insert) -> bool:
        try:
            self._store(rows, insert)
        except DatabaseError as error:
            if is_connection_lost():
                raise
            self._error = error
            return False
        return True

    def _store_by_session(self, sessions: Sequence[list[Row]]) -> None:
        failed = 0
        for rows in sessions:
            failed += not self._store_prefix(rows)
            is_general = failed in (len(sessions), FAILURES_BEFORE_GIVING_UP)
            has_any = self._inserted or self._stored_before or self._refused or self._suspects
            if is_general and self._error and not has_any:
                raise self._error

    def _store_prefix(self, rows: Sequence[Row]) -> bool:
        """Store one session's rows up to the first that has to wait; return whether no row has to wait."""
        if len(self._suspects) >= MAX_SUSPECTS:
            self._wait(rows, "many rows before these were refused")
            return False
        if self._is_stored(rows, self._inserts[-1]):
            return True
        if len(rows) > 1:
            half = len(rows) // 2
            if self._store_prefix(rows[:half]):
                return self._store_prefix(rows[half:])
            self._wait(rows[half:], self._reason)
            return False
        reason = str(self._error).splitlines()[0]
        if is_rows_fault(self._error):
            self._suspects.append((rows[0], reason))
            return True
        self._wait(rows, reason)
        return False

    def _store(self, rows: Sequence[Row], insert: Insert) -> None:
        """Insert the rows that are not stored yet, all or none."""
        with transaction.atomic():
            before = TeleopFrame.objects.timestamps(_keys(rows))
            new: dict[tuple[int, int], Row] = {}
            for key, row in zip(_keys(rows), rows, strict=True):
                if key not in before:
                    new.setdefault(key, row)
            stored = before
            if new:
                insert(list(new.values()))
                stored = before | TeleopFrame.objects.timestamps(list(new))
            if missing := [key for key in new if key not in stored]:
                # ON CONFLICT DO NOTHING skips conflicts of any unique key, also if a sequence lags behind its table.
                raise IntegrityError(f"frame {missing[0][1]} of session {missing[0][0]} was not stored")
        self._inserted += len(new)
        for key, row in zip(_keys(rows), rows, strict=True):
            if stored[key] != row.timestamp:
                detail = f"frame_index {row.frame_index} is already stored, with timestamp {stored[key]}"
                self._refused.append(Refused(row, Code.INDEX_REUSED, detail))
            elif new.get(key) is not row:
                self._stored_before[row.session_id] += 1

    def _wait(self, rows: Sequence[Row], reason: str) -> None:
        self._waiting += rows
        self._reason = reason

    def _judge_suspects(self) -> None:
        if not self._suspects:
            return
        if not self._inserted and not _accepts_a_copy(self._suspects[0][0]):
            raise DataError(f"the database refuses every row: {self._suspects[0][1]}")
        self._refused += [
            Refused(row, Code.REJECTED_BY_DATABASE, f"the database refused the frame: {reason}")
            for row, reason in self._suspects
        ]


def _keys(rows: Sequence[Row]) -> list[tuple[int, int]]:
    return [(row.session_id, row.frame_index) for row in rows]


def is_rows_fault(error: DatabaseError) -> bool:
    """Return whether the error can be the fault of the row itself, by PostgreSQL's SQLSTATE or Django's error class."""
    code = sqlstate(error)
    if code == INSUFFICIENT_PRIVILEGE:
        return getattr(error.__cause__, "diag", None) is not None and (
            error.__cause__.diag.source_function == ROW_SECURITY_CHECK
        )
    if code:
        return code.startswith(ROW_FAULT_CLASSES) or code == RAISE_EXCEPTION
    return isinstance(error, (IntegrityError, DataError))


def _lock_sessions(session_ids: list[int]) -> tuple[set[int], set[int]]:
    """Return the sessions that exist, and those of them with a row that another transaction has locked.

    The lock is the one that each frame's foreign key takes: labelling a session does not block it, deleting does.
    """
    existing = TeleopSession.objects.filter(pk__in=session_ids)
    if connection.vendor != "postgresql":
        return set(existing.values_list("pk", flat=True)), set()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM teleop_teleopsession WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE SKIP LOCKED",
            [session_ids],
        )
        available = {session_id for (session_id,) in cursor}
    if len(available) == len(session_ids):
        return available, set()
    there = set(existing.values_list("pk", flat=True))
    return there, there - available


def _accepts_a_copy(suspect: Row) -> bool:
    """Try to store a copy of the session's last frame, or else of the newest frame of all, under a free index."""
    template = TeleopFrame.objects.of_session(suspect.session_id).last_frame() or TeleopFrame.objects.newest_frame()
    if template is None:
        return False
    next_index = TeleopFrame.objects.of_session(template.session_id).next_index()
    free_index = max(next_index, suspect.frame_index + 1)  # not the suspect's index, which may be the fault
    free_index = free_index if free_index <= MAX_FRAME_INDEX else -1
    try:
        with transaction.atomic():
            template.pk, template.frame_index = None, free_index
            template.save(force_insert=True)
            transaction.set_rollback(True)
    except DatabaseError:
        if is_connection_lost():
            raise
        return False
    return True
