"""Heartbeats that are saved every few seconds, and their cost."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from robots.models import Robot
from teleop.ingest import presence
from teleop.models import TeleopSession
from teleop.tests.session_leases import T0, beats, heartbeat_of, opens, releases

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _anyone_may_connect(settings):
    settings.ROBOT_AUTH = "open"


def the_session() -> TeleopSession:
    return TeleopSession.objects.get()


def the_robot() -> Robot:
    return Robot.objects.get()


def stepped(frame_index: int, step_s: float) -> dict:
    """Return a step of a clock at 60 frames a second."""
    before = T0.timestamp() + frame_index / 60
    return {"frame_index": frame_index, "before": before, "timestamp": before + step_s, "step_s": step_s}


def test_it_writes_the_frame_count_and_the_heartbeat():
    opened = opens()
    before = (the_session().updated_at, the_robot().last_heartbeat)
    beats(opened, frame_count=180)
    assert (the_session().frame_count, the_session().end_time) == (180, None)
    assert the_session().updated_at > before[0] and the_robot().last_heartbeat > before[1]


def test_it_starts_the_session_at_its_first_frame():
    opened = opens()
    beats(opened, frame_count=1, first_timestamp=T0)
    beats(opened, frame_count=2)
    assert the_session().start_time == T0


def test_it_saves_steps_of_the_clock_and_moves_the_start_before_them():
    steps = [stepped(600, -7200), stepped(900, 30)]
    opened = opens()
    beats(opened, frame_count=1, first_timestamp=T0)
    beats(opened, frame_count=700, clock_steps=steps[:1])
    beats(opened, frame_count=999, clock_steps=steps)
    assert (the_session().clock_steps, the_session().start_time) == (steps, T0 - timedelta(seconds=7200 - 10))


def test_it_writes_the_frame_count_of_each_session():
    arm, leg = opens(), opens("worker.2", robot="leg")
    presence.heartbeat([heartbeat_of(arm, frame_count=1, first_timestamp=T0), heartbeat_of(leg, frame_count=2)])
    found = TeleopSession.objects.values_list("robot_id", "frame_count").order_by("robot_id")
    assert list(found) == [("arm", 1), ("leg", 2)]


def test_it_reports_a_replaced_holder_as_lost_and_writes_nothing():
    old, new = opens("worker.1"), opens("worker.2")
    assert beats(old, frame_count=99, fps=30, meta_info={"task": "old"}).lost == {old.holder}
    assert (the_session().holder, the_session().frame_count, the_session().fps) == (new.holder, 0, 60)
    assert the_session().meta_info is None


def test_it_saves_only_the_holder_of_two_connections_to_a_session():
    old, new = opens("worker.1"), opens("worker.2")
    found = presence.heartbeat([heartbeat_of(old, frame_count=99), heartbeat_of(new, frame_count=3)])
    assert (found.saved, found.lost, the_session().frame_count) == ({new.holder}, {old.holder}, 3)


def test_it_returns_the_key_hashes():
    opened = opens()
    Robot.objects.update(key_hash="other")
    assert beats(opened).key_hashes == {"arm": "other"}


def test_a_robot_has_status_error_until_a_heartbeat_without_refusals():
    opened = opens()
    beats(opened, refusals=3, error=("invalid_frame", "timestamp is null or missing"))
    assert (the_robot().status, the_robot().last_error_code) == ("error", "invalid_frame")
    beats(opened)
    assert (the_robot().status, the_robot().last_error_code) == ("online", "invalid_frame")


def test_it_merges_meta_info_shallowly_and_removes_null_keys():
    opened = opens()
    beats(opened, meta_info={"task": "fold", "camera": {"fps": 30, "width": 640}, "operator": "Ada"})
    beats(opened, meta_info={"camera": {"fps": 60}, "operator": None, "absent": None})
    assert the_session().meta_info == {"task": "fold", "camera": {"fps": 60}}


def test_it_refuses_a_merge_that_makes_meta_info_too_large():
    opened = opens()
    for name in ("a", "b"):
        assert beats(opened, meta_info={name: "x" * 30_000}).refused == {}
    found = beats(opened, meta_info={"c": "x" * 30_000, "a": None, "d": "x" * 30_000}, fps=30)
    detail = "the merged meta_info would be 90022 bytes as compact JSON; at most 65536 expected"
    assert found.refused == {opened.holder: detail}
    assert (list(the_session().meta_info), the_session().fps) == (["a", "b"], 30)
    assert beats(opened, meta_info={"c": "x" * 30_000, "a": None}).refused == {}


def test_it_refuses_meta_info_that_is_too_large_on_release():
    opened = opens()
    beats(opened, meta_info={"a": "x" * 60_000})
    releases(opened, meta_info={"b": "x" * 10_000})
    assert list(the_session().meta_info) == ["a"]
    assert the_robot().last_error_code == "invalid_end"
    assert "at most 65536 expected" in the_robot().last_error_detail


@pytest.mark.parametrize("label", ["task", "success", "tags", "operator", "note"])
def test_it_keeps_a_staff_label_over_the_robots_value(label):
    opened = opens()
    session = the_session()
    session.merge_meta({label: "staff's"}, by_staff=True)
    session.save()
    beats(opened, meta_info={label: "robot's", "other": 1})
    releases(opened, meta_info={label: None})
    assert the_session().meta_info == {label: "staff's", "other": 1}


def test_it_does_not_restore_a_label_that_staff_removed():
    opened = opens()
    beats(opened, meta_info={"note": "robot's"})
    session = the_session()
    session.merge_meta({"note": None}, by_staff=True)
    session.save()
    beats(opened, meta_info={"note": "robot's"})
    assert the_session().meta_info == {}


def test_a_robot_overwrites_a_staff_key_that_is_not_a_label():
    opened = opens()
    session = the_session()
    session.merge_meta({"site": "Ulm"}, by_staff=True)
    session.save()
    beats(opened, meta_info={"site": "Bonn"})
    assert the_session().meta_info == {"site": "Bonn"}


def test_it_runs_as_many_statements_for_50_robots_as_for_one():
    fifty = [heartbeat_of(opens(f"worker.{number}", robot=f"arm-{number}"), frame_count=1) for number in range(50)]
    counts = []
    for heartbeats in (fifty[:1], fifty):
        news = [each._replace(fps=30, meta_info={"task": "fold"}, error=("a", "b")) for each in heartbeats]
        with CaptureQueriesContext(connection) as statements:
            presence.heartbeat(news)
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_it_never_scans_the_session_table():
    """A scan of a hundred thousand sessions every few seconds would hold up every group."""
    opened = opens()
    with connection.execute_wrapper(_explain := Explain()):
        opened = opens("worker.2")
        beats(opened)
        releases(opened)
    assert _explain.scans == []


class Explain:
    """Recorder of statements on sessions for which the database reads the whole table."""

    def __init__(self):
        self.scans = []

    def __call__(self, execute, statement, params, many, context):
        is_ours = "teleop_teleopsession" in statement and statement.startswith(("SELECT", "UPDATE"))
        if is_ours and not many:
            prefix = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
            with connection.cursor() as cursor:
                if connection.vendor == "postgresql":
                    cursor.cursor.execute("SET enable_seqscan = off")
                cursor.cursor.execute(prefix + statement, params)
                plan = str(cursor.fetchall())
                if connection.vendor == "postgresql":
                    cursor.cursor.execute("RESET enable_seqscan")
            if "SCAN teleop_teleopsession'" in plan or "Seq Scan on teleop_teleopsession" in plan:
                self.scans.append((statement, plan))
        return execute(statement, params, many, context)


def test_it_uses_the_database_clock_for_heartbeats():
    opened = opens()
    Robot.objects.update(last_heartbeat=T0)
    beats(opened)
    assert the_robot().last_heartbeat > the_robot().created_at - timedelta(seconds=10)


@pytest.mark.postgresql
def test_a_heartbeat_is_a_heap_only_update():
    """A heap-only update changes no index: 100 robots would write 33 entries a second to each index."""
    opened = opens()
    beats(opened, frame_count=1, first_timestamp=T0)
    with transaction.atomic():
        updated, heap_only = updates()
        beats(opened, frame_count=2)
        assert updates() == (updated + 1, heap_only + 1)


def updates() -> tuple[int, int]:
    """Return this connection's updates of sessions: all, and the heap-only ones."""
    with connection.cursor() as cursor:
        counts = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'teleop_teleopsession'"
        cursor.execute(counts)
        return cursor.fetchone()


def test_it_clears_the_quality_of_a_session_that_is_recorded_again():
    opened = opens()
    for reopens in (beats, releases, lambda _: opens("worker.2")):
        TeleopSession.objects.update(quality={"idle_share": 0.5})
        reopens(opened)
        assert the_session().quality is None
