"""The times of frames: steps of the wall clock, a clock that was never set, restarts and reboots."""

import json
from types import SimpleNamespace

import pytest
from client_core import Core
from teleop_client import ClockStepped
from teleop_client.clock import Clock
from teleop_client.spool.session_spool import Spool

NOW = 1_795_000_000.0
NEVER_SET = 12.5  # unix seconds, of a robot without a battery for its clock


class Machine(SimpleNamespace):
    """A machine with a wall clock, an elapsed clock and a boot id; `pass_time` moves both clocks."""

    def __init__(self, monkeypatch, wall_s=NOW):
        super().__init__(wall_s=wall_s, elapsed_s=100.0, boot="boot 1")
        monkeypatch.setattr("teleop_client.system.boot_id", lambda: self.boot)

    def pass_time(self, seconds):
        self.wall_s += seconds
        self.elapsed_s += seconds

    def reboot(self, wall_s):
        self.wall_s, self.elapsed_s, self.boot = wall_s, 3.0, "boot 2"

    def core(self, folder=None, is_drain=False):
        core = Core(wall=Clock(None, lambda: (self.wall_s, self.elapsed_s), lambda: self.elapsed_s))
        if folder:
            core.attach(Spool(folder, robot_id="robot_A", session="session-1", is_drain=is_drain), is_drain=is_drain)
        return core


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def put(core, machine):
    core.send({"a": 1.0}, None, None, {})
    machine.pass_time(1)


def written(core):
    """Return what the core writes: the times of its frames, and its events."""
    core.must_sync and core.sync()
    messages = core.written()
    if core.must_sync:
        core.sync()
        messages += core.written()
    frames = [frame for m in messages for frame in m.get("frames", [m]) if "frame_index" in frame]
    return [frame["timestamp"] for frame in frames], [m for m in messages if m.get("type") == "event"]


def greet(core, **fields):
    core.connected()
    fields = {"session_id": 17, "next_frame_index": 0, "max_unacked": 6000, "accepts": ["event"]} | fields
    core.say(type="session", session="s", **fields)


def test_times_go_on_over_a_step_of_the_clock_and_the_step_is_an_event(machine):
    core = machine.core()
    greet(core)
    put(core, machine)
    assert written(core) == ([NOW], [])
    machine.wall_s += 3600
    core.check_clock()
    put(core, machine)
    times, (event,) = written(core)
    assert times == [NOW + 1]
    assert (event["kind"], event["timestamp"], event["detail"]) == ("clock_step", NOW + 1, {"step_s": 3600.0})
    assert [type(error) for error in core.errors] == [ClockStepped]


@pytest.mark.parametrize("step_s", [0.049, -0.049, 0.0])
def test_a_small_difference_is_no_step(machine, step_s):
    core = machine.core()
    machine.wall_s += step_s
    core.check_clock()
    assert core.counts()["events_pending"] == 0


def test_each_step_is_told_once(machine):
    core = machine.core()
    for step_s in (10, 0, -10, 0):
        machine.wall_s += step_s
        machine.pass_time(1)
        core.check_clock()
    assert core.counts()["events_pending"] == 2


def test_a_step_before_the_first_frame_is_sent_moves_all_frames_that_wait(machine):
    machine.wall_s = NOW - 3 * 86400
    core = machine.core()
    put(core, machine)
    machine.wall_s = NOW + 1
    core.check_clock()
    put(core, machine)
    greet(core)
    times, (event,) = written(core)
    assert times == [NOW, NOW + 1]
    assert event["detail"] == {"step_s": 3 * 86400.0, "applied": True}


def test_a_step_between_the_greeting_and_the_check_is_not_missed(machine):
    core = machine.core()
    put(core, machine)
    machine.wall_s += 100
    greet(core)
    assert written(core)[0] == [NOW + 100]


def test_a_clock_that_was_never_set_takes_the_servers_time(machine):
    machine.wall_s = NEVER_SET
    core = machine.core()
    put(core, machine)
    put(core, machine)
    greet(core, time=NOW + 2)
    times, (event,) = written(core)
    assert times == [NOW, NOW + 1]
    assert event["detail"]["applied"] is True


def test_without_any_time_the_frames_wait_until_the_clock_is_set(machine):
    machine.wall_s = NEVER_SET
    core = machine.core()
    put(core, machine)
    greet(core)
    assert written(core) == ([], [])
    machine.wall_s = NOW
    core.check_clock()
    assert written(core)[0] == [NOW - 1]


def test_a_time_that_the_program_gives_is_not_changed(machine):
    core = machine.core()
    core.send({"a": 1.0}, None, NOW - 7, {})
    machine.wall_s += 3600
    core.check_clock()
    greet(core)
    assert written(core)[0] == [NOW - 7]


def test_a_restarted_process_goes_on_with_the_time_of_the_one_before(machine, tmp_path):
    core = machine.core(tmp_path)
    greet(core)
    put(core, machine)
    assert written(core) == ([NOW], [])
    core.ack(0)
    machine.wall_s += 50  # the base is fixed: this is an event
    core.check_clock()
    core.leave()
    machine.pass_time(10)
    core = machine.core(tmp_path)
    put(core, machine)
    greet(core, next_frame_index=1)
    times, (event,) = written(core)
    assert times == [NOW + 11]
    assert event["detail"] == {"step_s": 50.0}


def test_a_frame_that_is_sent_again_has_the_same_time(machine, tmp_path):
    core = machine.core(tmp_path)
    put(core, machine)
    greet(core)
    first = written(core)[0]
    machine.wall_s += 50
    core.leave()
    machine.reboot(NOW + 1000)
    core = machine.core(tmp_path)
    greet(core)
    assert written(core)[0] == first


def test_a_reboot_begins_a_new_time_and_is_an_event(machine, tmp_path):
    core = machine.core(tmp_path)
    put(core, machine)
    core.leave()
    machine.reboot(NOW + 500)
    core = machine.core(tmp_path)
    put(core, machine)
    greet(core)
    times, (event,) = written(core)
    assert times == [NOW, NOW + 500]
    assert (event["kind"], event["detail"]["rebooted"]) == ("restart", True)


def test_frames_of_a_boot_without_a_clock_come_right_before_those_of_the_next_boot(machine, tmp_path):
    machine.wall_s = NEVER_SET
    core = machine.core(tmp_path)
    for _ in range(3):
        put(core, machine)
    core.leave()
    machine.reboot(NOW)
    core = machine.core(tmp_path)
    put(core, machine)
    greet(core)
    assert written(core)[0] == [NOW - 3, NOW - 2, NOW - 1, NOW]


@pytest.mark.parametrize("wall_s", [NEVER_SET, NOW - 3 * 86400])
def test_a_drain_in_the_same_boot_knows_the_true_time(machine, tmp_path, wall_s):
    machine.wall_s = wall_s
    core = machine.core(tmp_path)
    put(core, machine)
    core.leave()
    machine.wall_s = NOW + 1
    core = machine.core(tmp_path, is_drain=True)
    greet(core)
    assert written(core)[0] == [NOW]


def test_a_clock_that_was_set_before_a_restart_moves_the_frames_that_were_never_sent(machine, tmp_path):
    machine.wall_s = NEVER_SET
    core = machine.core(tmp_path)
    put(core, machine)
    core.leave()
    machine.wall_s = NOW + 1
    core = machine.core(tmp_path)
    put(core, machine)
    greet(core)
    assert written(core)[0] == [NOW, NOW + 1]


def test_it_sends_an_event_until_the_server_has_it(machine):
    core = machine.core()
    core.mark("slips", NOW)
    greet(core)
    _, (event,) = written(core)
    assert event == {"type": "event", "id": event["id"], "kind": "mark", "timestamp": NOW, "detail": {"note": "slips"}}
    core.closed(1006)
    greet(core)
    assert written(core)[1] == [event]
    core.say(type="event_ack", id=event["id"])
    core.closed(1006)
    greet(core)
    assert written(core)[1] == []


def test_a_mark_of_a_moment_before_the_clock_was_set_gets_the_right_time_too(machine, tmp_path):
    machine.wall_s = NEVER_SET
    core = machine.core(tmp_path)
    core.mark("slips")
    machine.pass_time(1)
    core.leave()
    machine.wall_s = NOW
    core = machine.core(tmp_path)
    greet(core)
    assert written(core)[1] == []  # the clock may still be set before the first frame
    put(core, machine)
    times, events = written(core)
    assert times == [NOW]
    assert [event["timestamp"] for event in events if event["kind"] == "mark"] == [NOW - 1]


def test_it_sends_no_event_to_a_server_that_does_not_know_them(machine):
    core = machine.core()
    core.mark("slips", NOW)
    greet(core, accepts=[])
    assert written(core)[1] == []
    assert core.counts()["events_pending"] == 1
    core.end()
    assert core.written()[-1]["type"] == "end"


def test_it_drops_an_event_that_the_server_refuses(machine):
    core = machine.core()
    event_id = core.mark("slips", NOW)
    greet(core)
    written(core)
    core.say(type="error", code="invalid_event", message=2, frame_index=None, id=event_id, detail="why")
    assert core.counts()["events_pending"] == 0
    assert str(core.errors[0]) == "event refused: why"


def test_it_holds_1000_events_of_a_session(machine):
    core = machine.core()
    assert [bool(core.mark("x")) for _ in range(1001)] == [True] * 1000 + [False]
    assert core.stats.events_dropped == 1


def test_a_note_that_no_json_holds_never_raises(machine):
    core = machine.core()
    assert core.mark("\ud800") is None
    assert core.mark("x" * 9999, NOW)
    greet(core)
    assert len(written(core)[1][0]["detail"]["note"]) == 500


@pytest.mark.parametrize("strict", [False, True])
def test_frames_with_an_index_of_the_program_are_sent_under_it(strict):
    core = Core(strict=strict)
    frame = ({"a": 1.0}, None, NOW, {})
    assert [core.send(*frame, frame_index=7), core.send(*frame), core.send(*frame, frame_index=20)] == [7, 8, 20]
    if not strict:
        assert core.send(*frame, frame_index=20) is None
        assert core.stats.invalid["frame_index"] == 1
    core.greet(next_frame_index=8)  # an earlier run has sent the first of them
    assert [json.loads(core.next_message())["frame_index"] for _ in range(3)] == [7, 8, 20]
