"""What a group costs whom: rows stored already, rows the database refuses, and a database that cannot."""

from contextlib import closing, contextmanager

import pytest
from django.db import DataError, OperationalError, connection, connections

from robots.models import Robot
from teleop.ingest import store
from teleop.ingest.connection import Row
from teleop.models import TeleopFrame, TeleopSession
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
    """The database refuses rows of this index, by a rule of the operator's."""
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
def swallowing(index):
    """A trigger passes over rows of this index without a word."""
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
    """Another process holds the table; ours does not wait for it."""
    is_postgresql = connection.vendor == "postgresql"
    execute("SET lock_timeout = '10ms'" if is_postgresql else "PRAGMA busy_timeout = 10")
    with closing(connections["default"].copy()) as other:
        with other.cursor() as cursor:
            cursor.execute("BEGIN" if is_postgresql else "BEGIN IMMEDIATE")
            if is_postgresql:
                cursor.execute("LOCK TABLE teleop_teleopframe")
        yield
    execute("SET lock_timeout = 0" if is_postgresql else "PRAGMA busy_timeout = 20000")


def execute(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_row_that_is_stored_already_is_as_good_as_stored(both_writers, sessions):
    store.write([row(sessions[0], 0), row(sessions[0], 1)])
    assert store.write([row(sessions[0], 1), row(sessions[0], 2), row(sessions[1], 1)]) == []
    assert (stored(sessions[0]), stored(sessions[1])) == ([0, 1, 2], [1])


def test_an_index_used_for_another_moment_is_refused(both_writers, sessions):
    store.write([row(sessions[0], 0)])
    (refused,) = store.write([row(sessions[0], 0, second=5), row(sessions[0], 1)])
    assert (refused.row, refused.code) == (row(sessions[0], 0, second=5), Code.INDEX_REUSED)
    assert "2023-12-23 08:00:00" in refused.detail
    assert [frame.timestamp.second for frame in sessions[0].frames.order_by("frame_index")] == [0, 0]


def test_an_index_used_twice_in_a_group_is_refused_once(both_writers, sessions):
    (refused,) = store.write([row(sessions[0], 0), row(sessions[0], 0, second=5)])
    assert refused.row.timestamp.second == 5
    assert stored(sessions[0]) == [0]


def test_a_refused_row_costs_the_199_others_nothing(both_writers, sessions):
    group = [row(sessions[index % 2], index) for index in range(200)]
    with refusing(77):
        (refused,) = store.write(group)
    assert (refused.row, refused.code) == (group[77], Code.REJECTED_BY_DATABASE)
    assert refused.detail.startswith("the database refused the frame: ")
    assert sorted(stored(sessions[0]) + stored(sessions[1])) == [index for index in range(200) if index != 77]


def test_a_row_of_no_session_is_refused(both_writers, sessions):
    (refused,) = store.write([row(sessions[0], 0), row(2**31 - 1, 0), row(sessions[0], 1)])
    assert (refused.row.session_id, refused.code) == (2**31 - 1, Code.REJECTED_BY_DATABASE)
    assert stored(sessions[0]) == [0, 1]


def test_data_that_the_column_does_not_take_is_refused(sessions, monkeypatch):
    def strict(rows, ignore_conflicts=False, real=store._bulk_create):
        if any(each.frame_index == 1 for each in rows):
            raise DataError("value out of range")
        real(rows, ignore_conflicts)

    monkeypatch.setattr(store, "_fast_path", lambda: strict)
    monkeypatch.setattr(store, "_bulk_create", strict)
    (refused,) = store.write([row(sessions[0], index) for index in range(3)])
    assert (refused.row.frame_index, refused.code) == (1, Code.REJECTED_BY_DATABASE)
    assert stored(sessions[0]) == [0, 2]


@pytest.mark.postgresql
def test_a_sequence_that_lags_behind_its_table_loses_no_row_silently(both_writers, sessions):
    group = [row(sessions[0], index) for index in range(4)]
    store.write(group[:2])
    execute("SELECT setval('teleop_teleopframe_id_seq', (SELECT min(id) FROM teleop_teleopframe), false)")
    refused = store.write(group[2:])
    assert sorted([each.row.frame_index for each in refused] + stored(sessions[0])) == [0, 1, 2, 3]


def test_where_conflicts_are_ignored_a_row_that_went_missing_is_noticed(sessions):
    with swallowing(1):
        (refused,) = store.write_carefully([row(sessions[0], index) for index in range(3)])
    assert (refused.row.frame_index, refused.code) == (1, Code.REJECTED_BY_DATABASE)
    assert stored(sessions[0]) == [0, 2]


def test_a_lock_is_nobodys_fault(both_writers, sessions):
    with locked(), pytest.raises(OperationalError):
        store.write([row(sessions[0], 0)])
    assert store.write([row(sessions[0], 0)]) == []
    assert stored(sessions[0]) == [0]


@pytest.mark.sqlite
def test_a_full_disk_is_nobodys_fault(both_writers, sessions):
    execute("VACUUM")  # else the pages that other tests have freed are room enough
    execute("PRAGMA max_page_count = 1")  # no page more than there are
    try:
        with pytest.raises(OperationalError):
            store.write([row(sessions[0], index, data=b'{"a":"%s"}' % (b"x" * 60_000)) for index in range(20)])
    finally:
        execute("PRAGMA max_page_count = 1073741823")
    assert stored(sessions[0]) == []


@pytest.mark.postgresql
@pytest.mark.parametrize("sqlstate", ["53100", "40P01", "57014"])  # disk full, deadlock, statement timeout
def test_an_operational_error_is_nobodys_fault(both_writers, sqlstate, sessions):
    execute(f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END $$""")
    execute("CREATE TRIGGER fails BEFORE INSERT ON teleop_teleopframe FOR EACH ROW EXECUTE FUNCTION fail()")
    try:
        with pytest.raises(OperationalError):
            store.write([row(sessions[0], 0)])
    finally:
        execute("DROP FUNCTION fail CASCADE")
    assert store.write([row(sessions[0], 0)]) == []


def test_taken_apart_a_session_waits_from_the_row_that_cannot_be_stored(sessions, settings, monkeypatch):
    def full_at_7(rows, ignore_conflicts=False, real=store._bulk_create):
        if any(each.frame_index == 7 for each in rows):
            raise OperationalError("disk full")
        real(rows, ignore_conflicts)

    monkeypatch.setattr(store, "_bulk_create", full_at_7)
    settings.INGEST_WRITER = "bulk_create"
    group = [row(session, index) for index in (5, 6, 8) for session in sessions] + [row(sessions[1], 9)]
    group.insert(4, row(sessions[1], 7))
    refused, left = store.take_apart(group)
    assert (refused, left) == ([], [row(sessions[1], index) for index in (7, 6, 8, 9)])
    assert [stored(session) for session in sessions] == [[5, 6, 8], [5], [5, 6, 8]]


def test_taken_apart_it_refuses_what_the_database_refuses(sessions):
    with refusing(77):
        refused, left = store.take_apart([row(session, index) for session in sessions for index in (76, 77, 78)])
    assert [(each.row.session_id, each.row.frame_index) for each in refused] == [(each.pk, 77) for each in sessions]
    assert (left, TeleopFrame.objects.count()) == ([], 6)


def test_a_connection_that_answers_is_kept(sessions):
    assert store.forget_broken_connection()
    assert connection.connection is not None


@pytest.mark.postgresql
def test_a_connection_that_is_gone_is_opened_anew(sessions):
    connection.connection.close()
    assert not store.forget_broken_connection()
    assert store.write([row(sessions[0], 0)]) == []
