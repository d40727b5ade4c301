"""State machine of one robot's connection: received messages, and the answers to them."""

import json
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robots.close_codes import Close
from teleop.ingest.parse import Event
from teleop.ingest.types import EventsOutcome, Refused, Row
from teleop.protocol import MAX_NESTED, MAX_UNACKED, Code
from teleop.tests.fakes import Robot, frame


@pytest.fixture
def robot():
    return Robot()


def test_it_greets_with_the_session_and_the_next_frame_index(robot):
    robot.connection.greet()
    (answer,) = robot.transport.answers
    assert abs(answer.pop("time") - time.time()) < 5
    assert answer == {
        "type": "session",
        "session_id": 17,
        "session": "session-key",
        "next_frame_index": 40,
        "last_timestamp": 1703318400.65,
        "max_unacked": MAX_UNACKED,
        "accepts": ["event", "preview"],
    }


def test_it_offers_frames_in_order_without_a_reply(robot):
    robot.sends(0, 1, 5)
    assert robot.taken_indexes == [0, 1, 5]
    assert robot.taken[0] == Row(17, "arm", 0, 1703318400_000_000, b'{"observation":{"x.pos":0.5}}')
    assert robot.transport.answers == []


@pytest.mark.parametrize("second", [3, 2, 0])
def test_it_refuses_an_index_that_does_not_ascend(robot, second):
    robot.sends(3, second, 4)
    assert robot.taken_indexes == [3, 4]
    (error,) = robot.transport.answers
    assert (error["code"], error["message"], error["frame_index"]) == (Code.OUT_OF_ORDER, 2, second)
    assert error["detail"] == f"frame_index is {second}; more than 3 (the last frame_index) expected"


def test_it_numbers_messages_of_every_type_from_1(robot):
    robot.sends_message(type="start")
    robot.sends_message(frames=[frame(0), frame(1)])
    robot.connection.receive(b"{")
    assert robot.transport.answers[0]["message"] == 3


def test_it_accepts_the_valid_frames_of_a_batch(robot):
    robot.sends_message(frames=[frame(0), frame(1) | {"timestamp": None}, frame(0), frame(2)])
    assert robot.taken_indexes == [0, 2]
    assert [(error["code"], error["frame_index"]) for error in robot.transport.answers] == [
        (Code.INVALID_FRAME, 1),
        (Code.OUT_OF_ORDER, 0),
    ]


def test_a_refused_frame_uses_no_index(robot):
    robot.sends_message(**frame(5) | {"timestamp": None})
    robot.sends(4, 5)
    assert robot.taken_indexes == [4, 5]


def test_it_acknowledges_the_last_committed_row(robot):
    robot.sends(0, 1, 2)
    robot.connection.committed(robot.taken[:2], 0)
    assert robot.transport.answers == [{"type": "ack", "frame_index": 1}]


def test_it_reports_a_row_that_the_database_refused(robot):
    robot.sends(0)
    robot.connection.refused(Refused(robot.taken[0], Code.INDEX_REUSED, "stored already"))
    expected = {"type": "error", "code": "index_reused", "message": None, "frame_index": 0, "detail": "stored already"}
    assert robot.transport.answers == [expected]


def test_a_start_sets_fps_and_meta_info(robot):
    robot.sends_message(type="start", fps=30, meta_info={"task": "fold"})
    heartbeat = robot.connection.heartbeat()
    assert (heartbeat.fps, heartbeat.meta_info, robot.transport.answers) == (30, {"task": "fold"}, [])


def test_it_ignores_a_repeated_start_even_after_frames(robot):
    robot.sends_message(type="start", fps=30)
    robot.sends(0)
    robot.sends_message(type="start", fps=30)
    assert robot.transport.answers == []


def test_it_refuses_a_second_start_that_differs(robot):
    robot.sends_message(type="start", fps=30)
    robot.sends_message(type="start", fps=60)
    assert robot.transport.codes == [Code.INVALID_START]
    assert robot.connection.heartbeat().fps == 30


def test_it_refuses_a_first_start_after_a_frame(robot):
    robot.sends(0)
    robot.sends_message(type="start", fps=30)
    assert robot.transport.codes == [Code.INVALID_START]
    assert robot.connection.heartbeat().fps is None


MARK = {"type": "event", "id": "m-1", "kind": "mark", "timestamp": 1703318400.5, "detail": {"note": "lifted"}}
MARK_TAKEN = Event("m-1", "mark", 1703318400_500_000, b'{"note":"lifted"}')


def test_it_offers_an_event_and_acknowledges_it_once_it_is_stored(robot):
    robot.sends_message(**MARK)
    robot.sends_message(type="start", fps=30)
    assert (robot.events, robot.transport.answers) == ([MARK_TAKEN], [])
    robot.connection.events_settled(robot.events, EventsOutcome())
    assert robot.transport.answers == [{"type": "event_ack", "id": "m-1"}]


def test_it_refuses_an_invalid_event_with_its_id(robot):
    robot.sends_message(**MARK | {"kind": "stumble"})
    robot.sends_message(**MARK | {"id": "no good"})
    detail = 'kind is "stumble"; mark, clock_step, restart, camera expected'
    error = {"type": "error", "code": "invalid_event", "message": 1, "frame_index": None, "id": "m-1", "detail": detail}
    assert robot.transport.answers[0] == error
    assert (robot.transport.answers[1]["message"], robot.transport.answers[1]["id"]) == (2, None)
    assert (robot.events, robot.connection.heartbeat().refusals) == ([], 2)


def test_it_refuses_events_of_a_deleted_session(robot):
    robot.sends_message(**MARK)
    robot.connection.events_settled(robot.events, EventsOutcome(is_deleted=True))
    (error,) = robot.transport.answers
    assert (error["code"], error["message"], error["id"]) == (Code.INVALID_EVENT, None, "m-1")
    assert error["detail"] == "session 17 does not exist"


def test_it_closes_as_overloaded_when_too_many_events_wait():
    robot = Robot(room=0)
    robot.sends_message(**MARK)
    assert robot.transport.answers == [Close.OVERLOADED]


def test_reads_of_a_connections_attributes_stay_fast(robot):
    """CPython stores more than 30 attributes of an object in another way."""
    assert len(vars(robot.connection)) <= 30


def test_it_ignores_messages_after_an_end(robot):
    robot.sends(0)
    robot.sends_message(type="end", meta_info={"success": True})
    robot.sends(1)
    robot.sends_message(**MARK)
    robot.connection.receive(b"{")
    assert (robot.taken_indexes, robot.events, robot.transport.answers) == ([0], [], [])
    assert robot.ends == 1
    assert robot.connection.heartbeat().meta_info == {"success": True}


def test_an_invalid_end_does_not_end_the_session(robot):
    robot.sends_message(type="end", meta_info=[])
    robot.sends(0)
    assert robot.transport.codes == [Code.INVALID_END]
    assert (robot.taken_indexes, robot.ends) == ([0], 0)


def test_it_sends_ended_before_it_closes(robot):
    robot.connection.ended(7200)
    assert robot.transport.answers == [{"type": "ended", "session_id": 17, "frame_count": 7200}, Close.ENDED]


def test_it_drops_new_frames_and_acknowledges_earlier_ones_at_shutdown(robot):
    robot.sends(0)
    robot.connection.begin_shutdown()
    robot.sends(1)
    robot.connection.committed(robot.taken, 0)
    assert robot.transport.answers == [{"type": "ack", "frame_index": 0}]


def test_it_accepts_frames_of_a_mute_client_at_shutdown():
    robot = Robot(is_mute=True)
    robot.connection.begin_shutdown()
    robot.sends(0)
    assert (robot.taken_indexes, robot.transport.answers) == ([0], [Close.RESTARTING])


def test_it_closes_once_with_the_first_code(robot):
    robot.connection.close(Close.TAKEN_OVER)
    robot.connection.close(Close.OVERLOADED)
    assert robot.transport.answers == [Close.TAKEN_OVER]


def test_it_sends_nothing_after_the_close(robot):
    robot.sends(0, 1)
    robot.connection.close(Close.DISCONNECTED)
    robot.connection.refused(Refused(robot.taken[0], Code.INDEX_REUSED, "stored already"))
    robot.connection.committed(robot.taken[1:], 0)
    assert robot.transport.answers == [Close.DISCONNECTED]


def test_it_sends_nothing_to_a_disconnected_client(robot):
    robot.sends(0)
    robot.connection.disconnected.set()
    robot.connection.committed(robot.taken, 0)
    assert (robot.transport.answers, robot.connection.frame_count) == ([], 1)


def test_it_closes_as_overloaded_when_the_writer_is_full():
    robot = Robot(room=2)
    robot.sends(0, 1, 2, 3)
    assert (robot.taken_indexes, robot.transport.answers) == ([0, 1], [Close.OVERLOADED])


def test_it_drops_the_rest_of_a_batch_when_the_writer_is_full(robot):
    robot.connection._offer = lambda _connection, row: row.frame_index != 1 and robot.offer(_connection, row)
    robot.sends_message(frames=[frame(0), frame(1), frame(2)])
    assert (robot.taken_indexes, robot.transport.answers) == ([0], [Close.OVERLOADED])


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=5), max_size=10), st.integers(0, 10))
def test_accepted_frames_are_a_prefix_of_the_sent_frames(batches, room):
    generous, tight = Robot(), Robot(room)
    for batch in batches:
        generous.sends_message(frames=[frame(index) for index in batch])
        tight.sends_message(frames=[frame(index) for index in batch])
        if tight.transport.closed:  # new room in the writer changes nothing
            tight.room += 100
    taken = len(tight.taken)
    assert tight.taken_indexes == generous.taken_indexes[:taken]
    assert taken == len(generous.taken) or tight.transport.closed == [Close.OVERLOADED]


def test_it_closes_after_100_unusable_messages_in_a_row(robot):
    for _ in range(100):
        assert robot.transport.closed == []
        robot.connection.receive(b"noise")
    assert robot.transport.codes == [Code.INVALID_MESSAGE] * 100
    assert robot.transport.closed == [Close.UNUSABLE]


@pytest.mark.parametrize(
    "between", [frame(0), {"type": "start"}, {"type": "start", "fps": 0}, {"frame_index": "x"}, MARK]
)
def test_a_parseable_message_resets_the_count_of_unusable_messages(robot, between):
    for message in [b"noise"] * 99 + [orjson.dumps(between)] + [b"noise"] * 99:
        robot.connection.receive(message)
    assert robot.transport.closed == []


def waste_us(robot: Robot, message: dict | bytes) -> float:
    return robot.connection.receive(message if isinstance(message, bytes) else orjson.dumps(message))


def test_accepted_messages_do_not_count_as_waste(robot):
    batch = {"frames": [frame(index) for index in range(1, 601)]}
    messages = [{"type": "start"}, frame(0), batch, frame(601) | {"note": "x" * 50_000}]
    assert [waste_us(robot, message) for message in messages] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "message, at_least_us",
    [
        (b"1", 20),
        (frame(0), 20),
        ({"type": "start"}, 20),
        (frame(1) | {"timestamp": None}, 20),
        ({"frames": [{}] * 600}, 12_000),
        ({"frames": [frame(0)] * 600}, 12_000),
        ({"type": "start", "meta_info": []}, 20),
        (MARK, 20),
        (MARK | {"detail": None}, 20),
        ({"frame_index": 1, "note": "x" * 60_000}, 1500),
        ({"frame_index": 1, "x": [[]] * 100_000}, 39_000),
        (frame(1) | {"x": [[]] * 20_000}, 5_000),  # accepted
    ],
)
def test_refused_and_slow_messages_count_as_waste(robot, message, at_least_us):
    robot.sends_message(type="start")
    robot.sends(0)
    assert at_least_us <= waste_us(robot, message) <= 1.5 * at_least_us


def test_only_the_refused_frames_of_a_batch_count_as_waste(robot):
    batch = [frame(index) for index in range(600)]
    batch[7]["timestamp"] = None
    assert 20 <= waste_us(robot, {"frames": batch}) <= 30


@pytest.mark.parametrize("kind", [str, str.encode])
def test_a_batch_with_nan_counts_as_waste_as_a_whole(robot, kind):
    batch = [frame(index) for index in range(600)]
    batch[7]["observation"] = {"a.pos": float("nan")}
    message = kind(json.dumps({"frames": batch}))
    assert 20 + len(message) * 0.03 <= robot.connection.receive(message) <= 3 * (20 + len(message) * 0.03)
    assert robot.taken_indexes == [index for index in range(600) if index != 7]


def test_messages_with_nan_do_not_close_the_connection(robot):
    for index in range(150):
        robot.connection.receive(json.dumps(frame(index) | {"observation": {"a.pos": float("nan")}}))
    assert robot.transport.closed == []
    assert [error["frame_index"] for error in robot.transport.answers] == list(range(150))
    assert robot.transport.answers[0]["detail"] == "observation.a.pos is NaN; a finite number expected"


def test_rows_refused_by_the_database_are_charged_to_the_next_message(robot):
    robot.sends(0)
    for _ in range(600):
        robot.connection.refused(Refused(robot.taken[0], Code.INDEX_REUSED, "stored already"))
    assert waste_us(robot, frame(1)) >= 6000
    assert waste_us(robot, frame(2)) == 0


def test_messages_after_an_end_count_as_waste(robot):
    robot.sends_message(type="end")
    assert waste_us(robot, frame(0)) > 0


@pytest.mark.parametrize("encode", [bytes, bytes.decode])
def test_it_refuses_a_message_with_too_many_brackets_before_parsing(robot, encode):
    robot.connection.receive(encode(orjson.dumps(frame(0) | {"x": [[]] * MAX_NESTED})))
    (error,) = robot.transport.answers
    assert (error["code"], error["message"], error["frame_index"]) == (Code.INVALID_MESSAGE, 1, None)
    bound = f"at most {MAX_NESTED} expected"
    assert error["detail"] == f"the message contains {MAX_NESTED + 3} characters [ and {{; {bound}"
