"""Rows of a group that are stored, refused or have to wait, and cases in which the whole group waits."""

import select
from contextlib import closing, contextmanager, suppress

import pytest
from django.db import DataError, InternalError, OperationalError, ProgrammingError, connection, connections

from robots.models import Robot
from teleop.ingest import isolation, store, transactions
from teleop.ingest.types import Outcome, Row
from teleop.models import TeleopSession
from teleop.protocol import Code

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sessions():
    robot = Robot.objects.create(pk="arm")
    return [TeleopSession.objects.create(robot=robot, key=f"session-{number}") for number in range(3)]


@pytest.fixture(params=["auto", "bulk_create"])
def both_writers(request, settings):
    settings.INGEST_WRITER = request.param


def row(session, index, second=0, data=b'{"observation":{}}'):
    return Row(getattr(session, "pk", session), "arm", index, (1703318400 + second) * 10**6 + index, data)


def stored(session):
    return list(session.frames.order_by("frame_index").values_list("frame_index", flat=True))


@contextmanager
def refusing(index):
    """Make the database refuse rows of this index, by an operator's rule."""
    if connection.vendor == "postgresql":
        make = f"ALTER TABLE teleop_teleopframe ADD CONSTRAINT operators_rule CHECK (frame_index <> {index}) NOT VALID"
        drop = "ALTER TABLE teleop_teleopframe DROP CONSTRAINT operators_rule"
    else:
        make = f"""CREATE TRIGGER operators_rule BEFORE INSERT ON teleop_teleopframe WHEN NEW.frame_index = {index}
            BEGIN SELECT RAISE(ABORT, 'operators_rule'); END"""
        drop = "DROP TRIGGER operators_rule"
    execute(make)
    try:
        yield
    finally:
        execute(drop)


@contextmanager
def refusing_all(when="TRUE"):
    """Make the database refuse every row, or those that `when` describes, like a broken trigger."""
    if connection.vendor == "postgresql":
        with failing("P0001", when):
            yield
        return
    execute(f"""CREATE TRIGGER refuses BEFORE INSERT ON teleop_teleopframe WHEN {when}
        BEGIN SELECT RAISE(ABORT, 'no'); END""")
    try:
        yield
    finally:
        execute("DROP TRIGGER refuses")


@contextmanager
def swallowing(index):
    """Add a trigger that skips rows of this index without an error."""
    if connection.vendor == "postgresql":
        execute(f"""CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.frame_index = {index} THEN RETURN NULL; END IF; RETURN NEW; END $$""")
        execute("CREATE TRIGGER swallows BEFORE INSERT ON teleop_teleopframe FOR EACH ROW EXECUTE FUNCTION swallow()")
        drop = "DROP FUNCTION swallow CASCADE"
    else:
        execute(f"""CREATE TRIGGER swallows BEFORE INSERT ON teleop_teleopframe WHEN NEW.frame_index = {index}
            BEGIN SELECT RAISE(IGNORE); END""")
        drop = "DROP TRIGGER swallows"
    try:
        yield
    finally:
        execute(drop)


@contextmanager
def locked():
    """Lock the table as another process; our process does not wait for it."""
    is_postgresql = connection.vendor == "postgresql"
    execute("SET lock_timeout = '10ms'" if is_postgresql else "PRAGMA busy_timeout = 10")
    with closing(connections["default"].copy()) as other:
        with other.cursor() as cursor:
            cursor.execute("BEGIN" if is_postgresql else "BEGIN IMMEDIATE")
            if is_postgresql:
                cursor.execute("LOCK TABLE teleop_teleopframe")
        try:
            yield
        finally:
            execute("SET lock_timeout = 0" if is_postgresql else "PRAGMA busy_timeout = 20000")


def execute(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def failing(sqlstate, when="TRUE"):
    """Add a trigger that raises this SQLSTATE for the rows that `when` describes (PostgreSQL)."""
    execute(f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF {when} THEN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END IF; RETURN NEW; END $$""")
    execute("CREATE TRIGGER fails BEFORE INSERT ON teleop_teleopframe FOR EACH ROW EXECUTE FUNCTION fail()")
    try:
        yield
    finally:
        execute("DROP FUNCTION fail CASCADE")


@contextmanager
def other_client(statement, *parameters):
    """Run this statement as another client that does not commit."""
    with closing(connections["default"].copy()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(statement, parameters)
        yield
        cursor.execute("ROLLBACK")


def test_it_stores_a_repeated_row_once(both_writers, sessions):
    store.write([row(sessions[0], 0), row(sessions[0], 1)])
    outcome = store.write([row(sessions[0], 1), row(sessions[0], 2), row(sessions[1], 1)])
    assert outcome == Outcome([], {sessions[0].pk: 1}, [], "")
    assert (stored(sessions[0]), stored(sessions[1])) == ([0, 1, 2], [1])


def test_it_refuses_an_index_reused_with_another_timestamp(both_writers, sessions):
    store.write([row(sessions[0], 0)])
    (refused,) = store.write([row(sessions[0], 0, second=5), row(sessions[0], 1)]).refused
    assert (refused.row, refused.code) == (row(sessions[0], 0, second=5), Code.INDEX_REUSED)
    assert "2023-12-23 08:00:00" in refused.detail
    assert [frame.timestamp.second for frame in sessions[0].frames.order_by("frame_index")] == [0, 0]


def test_it_refuses_the_second_row_with_the_same_index_in_a_group(both_writers, sessions):
    (refused,) = store.write([row(sessions[0], 0), row(sessions[0], 0, second=5)]).refused
    assert refused.row.timestamp.second == 5
    assert stored(sessions[0]) == [0]


def test_it_stores_the_199_rows_beside_a_refused_one(both_writers, sessions):
    group = [row(sessions[index % 2], index) for index in range(200)]
    with refusing(77):
        (refused,) = store.write(group).refused
    assert (refused.row, refused.code) == (group[77], Code.REJECTED_BY_DATABASE)
    assert refused.detail.startswith("the database refused the frame: ")
    assert sorted(stored(sessions[0]) + stored(sessions[1])) == [index for index in range(200) if index != 77]


def test_it_refuses_a_row_of_an_unknown_session(both_writers, sessions):
    outcome = store.write([row(sessions[0], 0), row(2**31 - 1, 0), row(sessions[0], 1)])
    assert [(each.row.session_id, each.code) for each in outcome.refused] == [(2**31 - 1, Code.REJECTED_BY_DATABASE)]
    assert stored(sessions[0]) == [0, 1]


def test_it_refuses_only_the_row_that_raises_data_error(sessions, monkeypatch):
    def strict(rows, real=store._insert_ignoring_conflicts):
        if any(each.frame_index == 1 for each in rows):
            raise DataError("value out of range")
        real(rows)

    monkeypatch.setattr(store, "_fast_path", lambda: strict)
    monkeypatch.setattr(store, "inserts", lambda: [strict])
    (refused,) = store.write([row(sessions[0], index) for index in range(3)]).refused
    assert (refused.row.frame_index, refused.code) == (1, Code.REJECTED_BY_DATABASE)
    assert stored(sessions[0]) == [0, 2]


def test_it_refuses_the_only_row_of_a_group(both_writers, sessions):
    """No other row proves that the database accepts any, so a copy of the session's last row is tried."""
    store.write([row(sessions[0], 0)])
    with refusing(1):
        (refused,) = store.write([row(sessions[0], 1)]).refused
    assert (refused.row.frame_index, stored(sessions[0])) == (1, [0])


def test_it_refuses_the_row_after_the_highest_index(sessions):
    store.write([row(sessions[0], 2**31 - 1)])
    with refusing(1):
        (refused,) = store.write([row(sessions[0], 1)]).refused
    assert (refused.row.frame_index, stored(sessions[0])) == (1, [2**31 - 1])


def test_it_raises_if_the_database_accepts_no_row(both_writers, sessions):
    store.write([row(sessions[0], 0)])
    group = [row(session, index) for session in sessions for index in (1, 2)]
    with refusing_all(), pytest.raises(DataError, match="refuses every row"):
        store.write(group)
    assert store.write(group) == Outcome()


def test_it_raises_if_the_first_row_of_an_empty_table_is_rejected(both_writers, sessions):
    """An empty table has no row to copy: the row waits, as the error may concern every row."""
    with refusing(0), pytest.raises(DataError, match="refuses every row"):
        store.write([row(sessions[0], 0)])


def test_it_refuses_at_most_max_suspects_and_keeps_the_rest_waiting(sessions):
    group = [row(sessions[0], index, data=b'{"action":{}}') for index in range(1, 301)]
    store.write([row(sessions[0], 0)])
    with refusing_all(
        "NEW.data LIKE '%action%'" if connection.vendor == "sqlite" else "NEW.data::text LIKE '%action%'"
    ):
        outcome = store.write(group)
    assert [each.row for each in outcome.refused] == group[: isolation.MAX_SUSPECTS]
    assert list(outcome.waiting) == group[isolation.MAX_SUSPECTS :]


@pytest.mark.postgresql
@pytest.mark.parametrize("sqlstate", ["22023", "23514", "44000", "54000", "P0001"])
def test_it_refuses_a_row_for_errors_of_the_row(sqlstate, sessions):
    with failing(sqlstate, "NEW.frame_index = 1"):
        (refused,) = store.write([row(sessions[0], 0), row(sessions[0], 1)]).refused
    assert (refused.row.frame_index, refused.code) == (1, Code.REJECTED_BY_DATABASE)


@pytest.mark.postgresql
@pytest.mark.parametrize("sqlstate", ["53100", "40P01", "57014", "55P03", "25006", "42501", "42P01", "XX000"])
def test_it_refuses_no_row_for_other_errors(both_writers, sqlstate, sessions):
    group = [row(sessions[0], 0), row(sessions[1], 1), row(sessions[1], 2), row(sessions[2], 0)]
    with failing(sqlstate, "NEW.frame_index = 1"):
        outcome = store.write(group)
    assert (outcome.refused, outcome.waiting) == ([], group[1:3])
    assert [stored(session) for session in sessions] == [[0], [], [0]]
    assert store.write(outcome.waiting) == Outcome()


@pytest.mark.postgresql
@pytest.mark.parametrize("sqlstate", ["53100", "55P03", "25006", "42501"])
def test_it_raises_an_error_that_concerns_the_whole_group(both_writers, sqlstate, sessions):
    group = [row(session, 0) for session in sessions]
    with failing(sqlstate), pytest.raises(Exception) as raised:
        store.write(group)
    assert transactions.sqlstate(raised.value) == sqlstate
    assert store.write(group) == Outcome()


@pytest.mark.postgresql
def test_it_stores_the_rows_before_a_temporary_failure(both_writers, sessions):
    group = [row(sessions[0], index) for index in range(9)]
    with failing("55P03", "NEW.frame_index = 5"):
        outcome = store.write(group)
    assert (outcome.refused, outcome.waiting, stored(sessions[0])) == ([], group[5:], [0, 1, 2, 3, 4])


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM teleop_teleopsession WHERE id = %s FOR UPDATE",
        "DELETE FROM teleop_teleopsession WHERE id = %s",
    ],
)
def test_it_skips_a_session_with_a_locked_row(both_writers, statement, sessions):
    group = [row(session, index) for session in sessions for index in (0, 1)]
    with other_client(statement, sessions[1].pk):
        outcome = store.write(group)
        assert (outcome.refused, outcome.waiting) == ([], group[2:4])
        assert "has locked session" in outcome.reason
        assert [stored(session) for session in sessions] == [[0, 1], [], [0, 1]]
    assert store.write(outcome.waiting) == Outcome()


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM teleop_teleopsession WHERE id = %s FOR NO KEY UPDATE",
        "UPDATE teleop_teleopsession SET fps = 30 WHERE id = %s",
    ],
)
def test_it_does_not_wait_for_a_label_update(both_writers, statement, sessions):
    with other_client(statement, sessions[1].pk):
        assert store.write([row(session, 0) for session in sessions]) == Outcome()


@pytest.mark.postgresql
def test_it_skips_a_session_with_an_uncommitted_row_of_another_worker(both_writers, sessions):
    columns = "session_id, robot_id, frame_index, timestamp, data"
    late = f"INSERT INTO teleop_teleopframe ({columns}) VALUES (%s, 'arm', 0, now(), '{{}}')"
    group = [row(session, 0) for session in sessions]
    with other_client(late, sessions[1].pk):
        outcome = store.write(group)
        assert (outcome.refused, outcome.waiting) == ([], [group[1]])


@pytest.mark.postgresql
def test_it_refuses_a_row_that_row_security_forbids(sessions):
    execute("CREATE ROLE robot_writer")
    execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO robot_writer")
    execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO robot_writer")
    execute("ALTER TABLE teleop_teleopframe ENABLE ROW LEVEL SECURITY")
    execute("CREATE POLICY not_one ON teleop_teleopframe USING (true) WITH CHECK (frame_index <> 1)")
    execute("SET ROLE robot_writer")
    try:
        (refused,) = store.write([row(sessions[0], index) for index in range(3)]).refused
    finally:
        execute("RESET ROLE")
        execute("DROP POLICY not_one ON teleop_teleopframe")
        execute("ALTER TABLE teleop_teleopframe DISABLE ROW LEVEL SECURITY")
        execute("DROP OWNED BY robot_writer")
        execute("DROP ROLE robot_writer")
    assert (refused.row.frame_index, refused.code, stored(sessions[0])) == (1, Code.REJECTED_BY_DATABASE, [0, 2])


@pytest.mark.postgresql
def test_it_raises_for_a_missing_privilege(both_writers, sessions):
    store.write([row(sessions[0], 0)])
    execute("CREATE ROLE reader")
    execute("GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO reader")
    execute("SET ROLE reader")
    try:
        with pytest.raises(ProgrammingError, match="permission denied"):
            store.write([row(sessions[0], 1)])
    finally:
        execute("RESET ROLE")
        execute("DROP OWNED BY reader")
        execute("DROP ROLE reader")


@pytest.mark.postgresql
def test_it_loses_no_row_silently_if_a_sequence_lags_behind_its_table(both_writers, sessions):
    group = [row(sessions[0], index) for index in range(4)]
    store.write(group[:2])
    execute("SELECT setval('teleop_teleopframe_id_seq', (SELECT min(id) FROM teleop_teleopframe), false)")
    waiting = group[2:]
    for _ in range(9):  # each attempt takes a number of the sequence
        try:
            outcome = store.write(waiting)
        except DataError:
            continue
        break
    assert sorted([each.row.frame_index for each in outcome.refused] + stored(sessions[0])) == [0, 1, 2, 3]


def test_it_refuses_a_row_that_a_trigger_discards(sessions):
    store.write([row(sessions[0], 3)])
    with swallowing(1):
        (refused,) = store.write([row(sessions[0], index) for index in (0, 1, 2, 3)]).refused
    assert (refused.row.frame_index, refused.code) == (1, Code.REJECTED_BY_DATABASE)
    assert stored(sessions[0]) == [0, 2, 3]


def test_it_raises_while_the_table_is_locked(both_writers, sessions):
    with locked(), pytest.raises(OperationalError):
        store.write([row(sessions[0], 0)])
    assert store.write([row(sessions[0], 0)]) == Outcome()
    assert stored(sessions[0]) == [0]


@pytest.mark.sqlite
def test_it_raises_while_the_disk_is_full(both_writers, sessions):
    execute("VACUUM")  # otherwise the pages that other tests have freed would suffice
    execute("PRAGMA max_page_count = 1")  # no more pages than exist
    try:
        with pytest.raises(OperationalError):
            store.write([row(sessions[0], index, data=b'{"a":"%s"}' % (b"x" * 60_000)) for index in range(20)])
    finally:
        execute("PRAGMA max_page_count = 1073741823")
    assert stored(sessions[0]) == []


@pytest.mark.postgresql
def test_it_resets_its_timeouts_after_the_transaction(both_writers, sessions):
    """Behind a pooler the next transaction on this connection may be another client's."""
    store.write([row(sessions[0], 0)])
    store.write([row(sessions[0], 0), row(sessions[0], 1)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
        assert cursor.fetchone() == ("0", "0")


@pytest.mark.postgresql
def test_postgresql_ends_the_transaction_of_a_stopped_process(sessions, monkeypatch):
    monkeypatch.setattr(transactions, "IDLE_TIMEOUT_MS", 50)
    with pytest.raises(InternalError, match="idle-in-transaction"), transactions.bounded_transaction(1000):
        select.select([connection.connection], [], [], 10)  # like a stopped process, it sends nothing
        TeleopSession.objects.exists()


def test_it_keeps_a_working_connection(sessions):
    kept = connection.connection
    transactions.recover(OperationalError("a failure"), 1)
    assert connection.connection is kept


@pytest.mark.postgresql
@pytest.mark.parametrize("failures", [3, 6])
def test_it_opens_a_new_connection_after_three_failures_in_a_row(failures, sessions):
    transactions.recover(OperationalError("whatever the reason"), failures)
    assert connection.connection is None


@pytest.mark.postgresql
def test_it_opens_a_new_connection_after_a_read_only_error(sessions):
    with pytest.raises(Exception, match="read-only") as raised, transactions.bounded_transaction(100):
        execute("SET TRANSACTION READ ONLY")
        store._insert_ignoring_conflicts([row(sessions[0], 0)])
    transactions.recover(raised.value, 1)
    assert connection.connection is None


@pytest.mark.postgresql
def test_it_replaces_a_closed_connection(sessions):
    connection.connection.close()
    transactions.recover(OperationalError("gone"), 1)
    assert store.write([row(sessions[0], 0)]) == Outcome()


@pytest.mark.postgresql
def test_it_checks_all_rows_of_a_group_with_the_same_triggers(sessions, monkeypatch):
    """If a trigger were dropped between two rows, the first row would seem to be the cause."""
    insert, tried = store._insert_ignoring_conflicts, []

    def drop_after_the_first(rows):
        try:
            insert(rows)
        finally:
            if len(rows) == 1 and not tried:
                tried.append(rows)
                with closing(connections["default"].copy()) as other, other.cursor() as cursor:
                    cursor.execute("BEGIN; SET LOCAL lock_timeout = '100ms'")  # another test gets this connection
                    with suppress(OperationalError):
                        cursor.execute("DROP TRIGGER fails ON teleop_teleopframe")

    monkeypatch.setattr(store, "inserts", lambda: [drop_after_the_first])
    with failing("P0001"), pytest.raises(DataError, match="refuses every row"):
        store.write([row(sessions[0], 0), row(sessions[0], 1)])
    assert tried
