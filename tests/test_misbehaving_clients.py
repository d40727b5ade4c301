"""What one robot does costs the others no ack, and the log few lines."""

import threading
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from teleop.models import TeleopFrame
from tests.services import Server, wait_until
from tests.wire import bystander, frame, register, stored, wire


@pytest.fixture(autouse=True)
def _robots(transactional_db):
    register("arm", "bystander")


def log_lines(server: Server, since: int) -> list[str]:
    """What the server has logged of the robot."""
    return [line for line in server.output()[since:].splitlines() if "arm" in line]


def test_a_client_that_never_reads_is_cut_off(server: Server):
    answered = {"frames": ["no frame"] * 600}  # with 100 KB of errors
    with bystander(server), wire(server, max_queue=1) as robot, pytest.raises(ConnectionClosed):
        for _ in range(1000):
            robot.say(answered)


def test_a_client_that_floods_gets_its_acks_too(server: Server):
    def flood(robot):
        robot.say(*[frame(index) for index in range(6000)])

    with bystander(server), wire(server) as robot:
        flooding = threading.Thread(target=flood, args=[robot])
        flooding.start()
        assert {message["type"] for message in robot.hear_ack(5999)} <= {"ack"}
        flooding.join()
    assert TeleopFrame.objects.filter(robot="arm").count() == 6000


def test_a_client_that_sends_more_than_can_wait_is_shed_alone(start_server):
    server = start_server(INGEST_MAX_PENDING_BYTES=str(2**20), INGEST_FLUSH_INTERVAL_MS="200")
    with bystander(server), wire(server, "arm?session=morning-run") as robot:
        with suppress(ConnectionClosed):
            for index in range(100):
                robot.say(frame(index, observation={"a": "x" * 60_000}))
        code, _ = robot.hear_close()
    assert code == 1013
    with wire(server, "arm?session=morning-run") as robot:
        assert robot.greeting["next_frame_index"] == len(stored())
    assert stored() == list(range(len(stored())))  # what is stored is a prefix of what was sent


def test_a_connection_that_breaks_with_frames_under_way_costs_nobody_an_ack(server: Server):
    with bystander(server):
        for _ in range(5):
            with wire(server, "arm?session=morning-run") as robot:
                first = robot.greeting["next_frame_index"]
                robot.say({"frames": [frame(index) for index in range(first, first + 500)]})
                robot.websocket.socket.close()
    wait_until(lambda: stored() and stored() == list(range(len(stored()))))


def test_a_thousand_bad_frames_cost_the_log_a_line_a_beat(server: Server):
    before = len(server.output())
    with bystander(server), wire(server) as robot:
        robot.say({"frames": ["no frame"] * 500}, *[frame(0, timestamp="now")] * 500, frame(1))
        robot.hear_ack(1)
        wait_until(lambda: log_lines(server, before), what="a line in the log")
    assert len(log_lines(server, before)) <= 3
    assert "1000 refused" in "".join(log_lines(server, before))
