"""Events from the socket to the row: acknowledged once they are committed, and stored once whatever is killed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from websockets.exceptions import InvalidStatus

from robots.models import Robot
from teleop.models import TeleopEvent, TeleopSession
from tests.chaos.environment import postgres_database, serving
from tests.patched_server import PatchedServer
from tests.robot_socket import KEY, T0, bystander, frame, register, robot_socket, stored
from tests.services import Postgres, Server, wait_until
from tests.test_metrics import read

HERE = "arm?session=morning-run-0001"


@pytest.fixture
def _robots(transactional_db: None) -> None:
    register("arm", "bystander")


@pytest.fixture(scope="module")
def database() -> Iterator[tuple[Postgres, str]]:
    with postgres_database() as database:
        yield database


def mark(event_id: str, **changes) -> dict:
    contents = {"kind": "mark", "timestamp": T0 + 0.5, "detail": {"note": "cube lifted", "é": [1.5, None]}}
    return {"type": "event", "id": event_id} | contents | changes


def restart(event_id: str, start: int, stop: int) -> dict:
    return mark(event_id, kind="restart", detail={"from_index": start, "to_index": stop, "rebooted": True})


def ack(event_id: str) -> dict:
    return {"type": "event_ack", "id": event_id}


def event_ids() -> list[str]:
    return list(TeleopEvent.objects.order_by("pk").values_list("event_id", flat=True))


@pytest.mark.usefixtures("_robots")
class TestEvents:
    def test_it_commits_an_event_before_it_acknowledges_it(self, server: Server):
        with robot_socket(server, HERE) as robot:
            assert robot.greeting["accepts"] == ["event", "preview"]
            robot.send(mark("a"))  # before the first frame
            assert robot.receive() == ack("a")
            row = TeleopEvent.objects.get()
            robot.send({"type": "start", "fps": 30}, frame(0))
            assert robot.receive_until_ack(0) == []
        assert (row.kind, row.detail, row.timestamp.timestamp()) == ("mark", mark("a")["detail"], T0 + 0.5)
        assert row.session.key == "morning-run-0001"

    def test_an_event_that_is_sent_again_changes_nothing(self, server: Server):
        for note in ("first", "second"):
            with robot_socket(server, HERE) as robot:
                robot.send(mark("a", detail={"note": note}), mark("a", detail={"note": note}))
                assert [robot.receive(), robot.receive()] == [ack("a"), ack("a")]
        assert TeleopEvent.objects.get().detail == {"note": "first"}

    def test_it_answers_an_invalid_event_with_its_id_and_goes_on(self, server: Server):
        with bystander(server), robot_socket(server, HERE) as robot:
            robot.send(mark("a", detail={"note": 7}), mark("b"))
            error = robot.receive("error")
            assert (error["code"], error["message"], error["frame_index"]) == ("invalid_event", 1, None)
            assert (error["id"], error["detail"][:16]) == ("a", "detail.note is 7")
            assert robot.receive() == ack("b")

    def test_it_answers_every_event_and_frame_before_ended(self, server: Server):
        with robot_socket(server, HERE) as robot:
            ids = [f"event-{number}" for number in range(50)]
            for index, event_id in enumerate(ids):
                robot.send(mark(event_id), frame(index))
            robot.send({"type": "end"}, mark("too late"))
            code, received = robot.receive_until_close()
        assert (code, received[-1]["type"]) == (1000, "ended")
        assert [message["id"] for message in received if message["type"] == "event_ack"] == ids
        assert (event_ids(), stored()) == (ids, list(range(50)))

    def test_the_indexes_that_a_restart_skipped_are_not_missing(self, server: Server):
        with robot_socket(server, HERE) as robot:
            robot.send(*[frame(index) for index in (0, 1, 2, 4)])
            robot.receive_until_ack(4)
        with robot_socket(server, HERE) as robot:
            robot.send(restart("r", 5, 605), restart("r", 5, 605), frame(605), {"type": "end"})
            assert robot.receive_until_close()[0] == 1000
        session = TeleopSession.objects.get()
        assert (session.skipped_frames, session.missing_frames) == (600, 1)

    def test_it_counts_stored_events_by_kind(self, server: Server):
        before = read(server)
        with robot_socket(server, HERE) as robot:
            robot.send(mark("a"), mark("a"), restart("b", 0, 0))
            assert [robot.receive()["id"] for _ in range(3)] == ["a", "a", "b"]
        after = read(server)
        names = [f'teleop_events_stored_total{{kind="{kind}"}}' for kind in ("mark", "restart")]
        assert [after[name] - before.get(name, 0) for name in names] == [1, 1]

    def test_an_event_is_stored_once_if_the_server_is_killed_before_the_ack(self, database_url, tmp_path):
        forgetful = PatchedServer("commit_events_without_acks", tmp_path, DATABASE_URL=database_url)
        with forgetful, robot_socket(forgetful, HERE) as robot:
            robot.send(mark("a"))
            wait_until(event_ids, what="the event's commit")
            forgetful.kill()
            assert robot.receive_until_close() == (1006, [])
        with Server(tmp_path, DATABASE_URL=database_url) as server, robot_socket(server, HERE) as robot:
            robot.send(mark("a"), mark("b"))
            assert [robot.receive(), robot.receive()] == [ack("a"), ack("b")]
        assert event_ids() == ["a", "b"]

    def test_a_mute_clients_events_are_stored(self, server: Server):
        with robot_socket(server, HERE, mute=True) as robot:
            robot.send(mark("a"))
            wait_until(event_ids, what="the event's commit")


@pytest.mark.usefixtures("_robots")
class TestTakeover:
    def test_a_client_that_must_not_take_a_session_is_refused_while_another_has_it(self, server: Server):
        with bystander(server), robot_socket(server, HERE) as robot:
            robot.send(frame(0))
            robot.receive_until_ack(0)
            with pytest.raises(InvalidStatus) as refused, robot_socket(server, f"{HERE}&takeover=no"):
                pass
            answer = refused.value.response
            detail = "another connection has session morning-run-0001, and takeover=no"
            assert (answer.status_code, json.loads(answer.body)) == (409, {"detail": detail})
            robot.send(frame(1))
            assert robot.receive_until_ack(1) == []

    def test_such_a_refusal_is_no_error_of_the_robot(self, server: Server):
        with robot_socket(server, HERE):
            for path, key in ((f"{HERE}&takeover=no", KEY), ("bystander", "wrong")):
                with pytest.raises(InvalidStatus), robot_socket(server, path, key):
                    pass
        wait_until(lambda: Robot.objects.get(pk="bystander").last_error_code, what="the later refusal")
        assert not Robot.objects.get(pk="arm").last_error_code

    def test_it_gets_a_session_that_no_connection_has(self, server: Server):
        for _ in range(2):
            with robot_socket(server, f"{HERE}&takeover=no") as robot:
                robot.send({"type": "end"})
                assert robot.receive_until_close()[0] == 1000

    def test_another_client_may_take_the_session_from_it(self, server: Server):
        with robot_socket(server, f"{HERE}&takeover=no") as polite, robot_socket(server, HERE) as robot:
            assert polite.receive_until_close()[0] == 4409
            robot.send(frame(0))
            assert robot.receive_until_ack(0) == []


@contextmanager
def session_locked(url: str) -> Iterator[psycopg.Connection]:
    """Lock the rows of all sessions until the connection's transaction ends."""
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM teleop_teleopsession FOR NO KEY UPDATE")
        yield other
        other.rollback()


@pytest.fixture(scope="module")
def own_server(database: tuple[Postgres, str]) -> Iterator[Server]:
    with serving(database[1]) as server:
        yield server


@pytest.mark.once
class TestOutages:
    def test_events_of_a_locked_session_wait_and_delay_no_frame(
        self, database: tuple[Postgres, str], own_server: Server
    ):
        with robot_socket(own_server, "locked", key=None) as robot:
            with session_locked(database[1]):
                robot.send(mark("a"), frame(0))
                assert robot.receive_until_ack(0) == []
            assert robot.receive() == ack("a")

    def test_a_session_ends_once_its_events_are_stored(self, database: tuple[Postgres, str], own_server: Server):
        with robot_socket(own_server, "ends", key=None) as robot:
            database[0].execute(
                """CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN RAISE EXCEPTION 'not yet'; END $$;
                CREATE TRIGGER fails BEFORE INSERT ON teleop_teleopevent FOR EACH ROW EXECUTE FUNCTION fail()"""
            )
            robot.send(mark("a"), {"type": "end"})
            wait_until(lambda: "retrying: not yet" in own_server.output(), what="a failure")
            database[0].execute("DROP FUNCTION fail CASCADE")
            assert robot.receive() == ack("a")
            assert robot.receive()["type"] == "ended"

    def test_events_wait_while_the_database_is_away(self, database: tuple[Postgres, str], own_server: Server):
        with robot_socket(own_server, "waits", key=None) as robot:
            database[0].stop()
            robot.send(mark("a"), frame(0), {"type": "end"})
            wait_until(lambda: "could not store the events of 1 sessions" in own_server.output(), what="a failure")
            database[0].start()
            code, received = robot.receive_until_close()
        assert (code, received[-1]["type"]) == (1000, "ended")
        assert ack("a") in received
        of_session = f"session_id = {robot.greeting['session_id']}"
        assert database[0].fetch_value(f"SELECT count(*) FROM teleop_teleopevent WHERE {of_session}") == 1

    def test_it_stores_and_acknowledges_received_events_at_shutdown(
        self, database: tuple[Postgres, str], own_server: Server
    ):
        with robot_socket(own_server, "stops", key=None) as robot:
            with session_locked(database[1]):
                robot.send(mark("a"))
                robot.websocket.ping().wait(5)  # the pong follows all messages sent before the ping
                own_server.terminate()
                wait_until(lambda: not own_server.answers(), what="the shutdown")
            assert robot.receive_until_close() == (1012, [ack("a")])
