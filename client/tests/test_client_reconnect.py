"""Between connections: which frames are sent again, the meaning of each close code, and the seconds to wait."""

import logging

import pytest
from client_core import NOW, Core
from teleop_client import (
    AcknowledgedFramesLost,
    Delays,
    DisconnectedByStaff,
    FrameRefused,
    HandshakeRefused,
    KeyRevoked,
    MessageRefused,
    RobotDisabled,
    SessionTaken,
)


@pytest.fixture
def core():
    """Return a core with five frames on the wire, the first two acknowledged."""
    core = Core().greet()
    core.put(5)
    core.write_frames()
    core.ack(1)
    return core


def test_it_resends_unacknowledged_frames_before_new_ones(core):
    core.closed(1006)
    core.put(1)
    assert core.greet(2).write_frames() == [[2], [3], [4], [5]]


def test_it_does_not_resend_stored_frames(core):
    core.closed(1006)
    assert core.greet(4).write_frames() == [[4]]
    assert core.stats.acked == 4
    assert core.errors == []


def test_it_remembers_frames_written_two_connections_ago(core):
    core.closed(1006)
    core.greet(2).write_frames(1)
    core.closed(1006)
    assert core.greet(5).write_frames() == []
    assert core.stats.acked == 5


def test_it_sends_unwritten_frames_even_if_the_index_is_ahead(core):
    core.closed(1006)
    core.put(2)
    assert core.greet(7).write_frames() == [[5], [6]]


def test_a_new_process_numbers_its_frames_after_those_of_the_old_one():
    core = Core()
    core.put(2)
    assert core.greet(500).write_frames() == [[500], [501]]
    assert core.put() == [502]


def test_a_backlog_is_sent_in_batches(core):
    core.closed(1006)
    core.put(600)
    assert [len(indexes) for indexes in core.greet(2).write_frames()] == [600, 1, 1, 1]


def test_it_logs_lost_acknowledged_frames_as_critical_once(core, caplog):
    core.closed(1006)
    core.greet(1)
    core.closed(1006)
    core.greet(1)
    assert core.stats.lost == 1
    assert [type(e) for e in core.errors] == [AcknowledgedFramesLost]
    assert [r.levelno for r in caplog.records if "lost" in r.message] == [logging.CRITICAL]


def test_a_new_process_detects_the_loss_of_previously_stored_frames():
    core = Core().greet(500)
    core.closed(1006)
    core.greet(400)
    assert core.stats.lost == 100


def test_it_does_not_count_a_refused_last_frame_as_lost():
    core = Core().greet()
    core.put(2)
    core.write_frames()
    core.refuse("invalid_frame", 3, 1)
    core.ack(1)
    core.closed(1006)
    core.greet(1)
    assert core.stats.lost == 0


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 1012, 1013])
def test_it_backs_off_with_jitter_up_to_a_maximum(code):
    core = Core(delays=Delays(first=1.0, most=8.0))
    for bound in (1, 2, 4, 8, 8, 8):
        assert bound / 2 <= core.closed(code) <= bound


def test_it_randomizes_its_reconnect_delays():
    core = Core()
    assert len({core.closed(1012) / 2**i for i in range(5)}) == 5


def test_only_an_ack_resets_the_backoff(core):
    for _ in range(10):
        core.closed(1013)
        core.greet(2)
    assert core.closed(1013) > 10
    core.greet(2).write_frames()
    core.ack(4)
    assert core.closed(1013) < 1


@pytest.mark.parametrize(("code", "error"), [(4401, KeyRevoked), (4409, SessionTaken)])
def test_it_stops_with_an_error_after_4401_and_4409(core, code, error):
    assert core.closed(code, "reason") is None
    assert isinstance(core.error, error)
    assert core.errors == [core.error]
    assert core.put() == [None]
    assert (core.stats.dropped, core.pending) == (1, 3)


def test_it_waits_a_minute_after_staff_disconnected_it(core):
    assert 60 <= core.closed(4403) <= 66
    assert isinstance(core.errors[0], DisconnectedByStaff)
    assert core.greet(2).write_frames() == [[2], [3], [4]]


@pytest.mark.parametrize("code", [1007, 1009, 4400])
def test_it_finds_the_refused_message_by_sending_one_at_a_time(core, code):
    assert 15 <= core.closed(code) <= 30
    assert core.stats.refused == 0
    assert core.greet(2).write_frames() == [[2]]
    core.ack(2)
    assert core.write_frames() == [[3]]
    core.closed(code)  # so frame 3 was at fault
    assert [type(e) for e in core.errors] == [MessageRefused, FrameRefused]
    assert core.errors[1].frame_index == 3
    core.greet(3)
    assert core.write_frames() == [[4]]


def test_it_sends_no_batches_while_looking_for_the_refused_message():
    core = Core().greet()
    core.put(20)
    core.write_frames()
    core.closed(1007)
    assert core.greet(0).write_frames() == [[0]]


def test_it_resumes_normal_sending_after_the_suspect_frames_are_acked(core):
    core.closed(1007)
    core.put(3)
    core.greet(4)
    assert core.write_frames() == [[4]]
    core.ack(4)
    assert core.write_frames() == [[5], [6], [7]]
    core.closed(1007)
    assert core.stats.refused == 0


def test_it_halves_its_batch_size_after_1009_down_to_one_frame():
    core = Core()
    core.put(1)
    core.greet().write_frames()
    core.ack(0)
    for _ in range(10):
        core.closed(1009)
    core.greet(1)
    for _ in range(300):
        core.send({"s": "x" * 1000}, None, NOW, {})
    messages = []
    while message := core.next_message():
        messages.append(len(message))
    assert 60 << 10 < max(messages) <= 64 << 10


def test_a_refused_handshake_stops_a_client_that_was_never_connected():
    core = Core()
    assert core.refused(403) is None
    assert isinstance(core.error, HandshakeRefused)


def test_it_retries_a_refused_handshake_slowly_after_a_connection(core):
    core.closed(1006)
    assert 15 <= core.refused(403) <= 30
    assert core.error is None
    assert isinstance(core.errors[0], HandshakeRefused)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_it_retries_if_the_server_is_not_ready(status):
    core = Core()
    assert core.refused(status) < 1
    assert core.error is None


@pytest.mark.parametrize(("reason", "said"), [("", "(4409)"), ("robot taken", "(4409 robot taken)")])
def test_it_names_the_close_code_and_the_reason_if_there_is_one(core, reason, said):
    core.closed(4409, reason)
    assert str(core.error) == f"another connection took the session {said}"


DISABLED = b'{"detail":"robot arm is disabled","code":"robot_disabled"}'


@pytest.mark.parametrize("greetings", [0, 1])
def test_it_keeps_its_frames_and_asks_every_10_minutes_while_disabled(greetings):
    core = Core()
    core.put(2)
    for _ in range(greetings):
        core.greet()
    delays = [core.refused(403, DISABLED), core.refused(403, DISABLED)]
    assert all(600 <= delay <= 660 for delay in delays)
    assert (core.error, core.pending, [type(error) for error in core.errors]) == (None, 2, [RobotDisabled])
    assert core.greet().write_frames() == [[0], [1]]


def test_it_reports_a_second_disabling_after_the_robot_was_enabled(core):
    assert 600 <= core.closed(4410) <= 660
    core.refused(403, DISABLED)
    core.greet(2)
    core.closed(4410)
    assert [type(error) for error in core.errors] == [RobotDisabled, RobotDisabled]


@pytest.mark.parametrize("body", [None, b"", b"<html>", b"[]", b'{"code":"not_tls"}', b"\xff"])
def test_another_403_is_not_taken_for_a_disabled_robot(body):
    core = Core()
    assert core.refused(403, body) is None
    assert isinstance(core.error, HandshakeRefused)


@pytest.mark.parametrize(
    ("body", "said"),
    [(b'{"detail":"60 connections a minute"}', ": 60 connections a minute"), (b"<html>", ""), (b'{"detail":5}', "")],
)
def test_it_repeats_why_the_server_refuses_a_handshake(core, body, said):
    core.refused(429, body)
    assert core.stats.last_error == f"HTTP 429 at the handshake{said}"
