"""One connection: greeting, frames, acks, errors and the end."""

import pytest
from client_core import NOW, Core
from teleop_client import ClientClosed, FrameRefused, MessageRefused, SessionEnded
from teleop_client.encoding import control_message


@pytest.fixture
def core():
    return Core().greet()


def greeted_before_start(**options):
    """Return a core that was greeted, has written nothing yet, and holds two frames."""
    core = Core(**options)
    core.put(2)
    core.connected()
    core.say(type="session", session_id=17, session="s", next_frame_index=0, max_unacked=10)
    return core


def test_it_writes_nothing_before_the_greeting():
    core = Core()
    core.put()
    core.end()
    core.connected()
    assert core.written() == []


def test_it_writes_start_once_and_first():
    core = greeted_before_start(fps=30, meta_info={"task": "fold"})
    first, *rest = core.written()
    assert first == {"type": "start", "fps": 30, "meta_info": {"task": "fold"}}
    assert [m["frame_index"] for m in rest] == [0, 1]
    core.closed(1006)
    assert core.greet(0).write_frames() == [[0], [1]]


def test_it_writes_one_frame_per_message_without_a_backlog(core):
    assert core.put(2) == [0, 1]
    assert core.written() == [{"frame_index": i, "timestamp": NOW, "observation": {"a.pos": 0.5}} for i in (0, 1)]


def test_it_writes_a_large_backlog_in_batches(core):
    core.put(1300)
    assert [len(indexes) for indexes in core.write_frames()] == [600, 600, 100]


def test_it_limits_a_batch_to_1_mib(core):
    for _ in range(40):
        core.send({"s": "x" * 65000}, None, NOW, {})
    sizes = []
    while message := core.next_message():
        sizes.append(len(message))
    assert len(sizes) == 3
    assert max(sizes) <= 1 << 20


def test_an_ack_is_cumulative(core):
    core.put(3)
    core.written()
    core.ack(1)
    assert (core.stats.acked, core.pending) == (2, 1)


def test_an_ack_reports_the_latency_since_send(core):
    core.put()
    core.now = 0.5
    core.put()
    core.written()
    core.now = 0.75
    core.ack(1)
    assert core.latencies == [0.75, 0.25]


def test_an_ack_never_covers_unwritten_frames(core):
    core.put(2)
    core.written(1)
    core.ack(5)
    assert core.pending == 1


def test_it_never_has_more_than_max_unacked_on_the_wire():
    core = Core().greet(max_unacked=10)
    core.put(25)
    assert core.write_frames() == [list(range(10))]
    core.ack(3)
    assert core.write_frames() == [[10], [11], [12], [13]]
    core.ack(13)
    assert core.write_frames() == [list(range(14, 24))]


def test_it_drops_the_newest_frame_at_max_held_frames():
    core = Core(max_held_frames=2)
    assert core.put(3) == [0, 1, None]
    core.greet()
    core.write_frames()
    core.ack(1)
    assert core.put() == [3]  # the server detects the gap
    assert (core.stats.sent, core.stats.dropped) == (3, 1)


def test_it_drops_the_newest_frame_at_max_held_bytes():
    core = Core(max_held_bytes=70)
    assert core.put(3) == [0, 1, None]
    core.greet()
    core.write_frames()
    core.refuse("invalid_frame", 2, 0)
    core.ack(1)
    assert core.put(3) == [3, 4, None]


def test_it_drops_and_reports_a_refused_frame(core):
    core.put(2)
    core.written()
    core.refuse("invalid_frame", 2, 0)
    core.ack(1)
    assert (core.stats.refused, core.stats.acked, core.pending) == (1, 1, 0)
    assert isinstance(core.errors[0], FrameRefused)
    assert (core.errors[0].frame_index, core.errors[0].code) == (0, "invalid_frame")


def test_an_error_without_index_refuses_every_frame_of_its_message(core):
    core.put(10)
    assert core.write_frames(1) == [list(range(10))]  # message 2, after `start`
    core.put(1)
    core.write_frames()
    core.refuse("invalid_message", 2)
    assert (core.stats.refused, core.pending) == (10, 1)


def test_the_message_count_restarts_on_each_connection(core):
    core.put(1)
    core.write_frames()
    core.closed(1006)
    core.put(1)
    core.greet(0)
    assert core.write_frames() == [[0], [1]]
    core.refuse("invalid_message", 2)
    assert [e.frame_index for e in core.errors] == [0]


def test_a_refused_start_drops_no_frame(core):
    core.put()
    core.write_frames()
    core.refuse("invalid_start", 1)
    assert isinstance(core.errors[0], MessageRefused)
    assert core.pending == 1


def test_stats_add_up(core):
    core.put(5)
    core.write_frames()
    core.refuse("index_reused", 2, 0)
    core.ack(2)
    stats = core.stats
    assert (stats.sent, stats.acked, stats.refused, stats.pending) == (5, 2, 1, 2)
    assert stats.last_error == "frame 0 refused: index_reused: why"


def test_it_writes_end_after_every_frame():
    core = Core().greet(max_unacked=2)
    core.put(3)
    core.end(control_message("end", {"success": True}))
    assert core.write_frames() == [[0], [1]]
    core.ack(1)
    assert core.write_frames(1) == [[2]]
    assert core.written() == [{"type": "end", "meta_info": {"success": True}}]
    assert core.written() == []


def test_it_is_done_when_the_server_confirms_the_end(core):
    core.put()
    core.end()
    core.written()
    core.ack(0)
    core.say(type="ended", session_id=17, frame_count=1)
    assert (core.done, core.frame_count, core.error) == (True, 1, None)
    assert (core.stats.acked, core.pending) == (1, 0)
    assert core.closed(1000) is None


def test_it_repeats_end_until_it_is_confirmed(core):
    core.put()
    core.end()
    core.written()
    assert core.closed(1000) is not None
    core.greet(1)
    core.closed(1006)
    core.connected()
    core.say(type="session", session_id=17, session="s", next_frame_index=1, max_unacked=10)
    assert [m["type"] for m in core.written()] == ["start", "end"]


def test_it_retries_a_refused_end_once_without_meta_info(core):
    core.end(control_message("end", {"tags": "x"}))
    core.written()
    core.refuse("invalid_end", 2)
    assert core.written() == [{"type": "end"}]
    core.refuse("invalid_end", 3)
    assert core.written() == []


def test_it_drops_frames_after_end(core):
    core.end()
    assert core.put(2) == [None, None]
    assert core.stats.not_running == 2
    assert [str(error) for error in core.errors] == ["frames are dropped: the session has been ended"]


def test_it_raises_after_end_if_it_is_strict():
    core = Core(strict=True)
    core.end()
    with pytest.raises(ClientClosed):
        core.put()


def test_it_stops_without_raising_when_staff_end_the_session(core):
    core.put(2)
    core.written()
    core.ack(0)
    core.say(type="ended", session_id=17, frame_count=1)
    assert isinstance(core.error, SessionEnded)
    assert core.put() == [None]
    assert core.closed(1000) is None


def test_it_counts_frames_in_flight_as_unacknowledged_when_staff_end_it(core):
    core.put(2)
    core.end()
    core.written()
    core.ack(0)
    core.say(type="ended", session_id=17, frame_count=1)
    assert isinstance(core.error, SessionEnded) and "1 frames were not acknowledged" in str(core.error)
    assert (core.stats.acked, core.pending) == (1, 1)


def test_it_reports_an_unrequested_end_without_pending_frames(core):
    core.say(type="ended", session_id=17, frame_count=0)
    assert isinstance(core.error, SessionEnded)


def test_it_does_not_count_a_frame_racing_with_end_as_stored(core):
    core.end()
    core.written()
    core._buffer.add(NOW, None, b'"observation":{}}', 0.0)
    assert core.written() == []
    core.say(type="ended", session_id=17, frame_count=0)
    assert isinstance(core.error, SessionEnded)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type":"news"}', '{"type":"ack","frame_index":"1"}'])
def test_it_ignores_unknown_messages(core, text):
    core.put()
    core.written()
    core.receive(text)
    assert core.pending == 1


def test_it_survives_an_exception_in_a_callback():
    core = Core(on_ack=lambda latencies: 1 / 0).greet()
    core.put()
    core.written()
    core.ack(0)
    assert core.stats.acked == 1
