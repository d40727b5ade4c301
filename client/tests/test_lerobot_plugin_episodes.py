"""The plugin in lerobot's loops: a session for each episode, with exactly lerobot's frames."""

import time

import pytest
from lerobot_stub.stub_fixtures import *  # noqa: F403 - fixtures
from lerobot_stub.stub_fixtures import KEY, Events

RECORDING = {"episodes": 2, "frames": 4, "reset_frames": 3}
RERECORD = ("rerecord_episode", "exit_early")
DISCARDED = {"success": False, "tags": ["re-recorded"]}


@pytest.fixture
def record(run_of_lerobot):
    """Return a function that runs lerobot's loop; the keys are pressed at actions of these numbers."""

    def record(arm, keys=None, **options):
        events = Events(keys)
        return run_of_lerobot.record(arm, events.teleop, events, **RECORDING | options)

    return record


def test_it_streams_each_episode_as_a_session_without_the_reset_phase(record, make_arm, server):
    saved = record(make_arm(server))
    assert [len(episode) for episode in saved] == [4, 4]
    assert server.frames() == saved
    assert [start["episode"] for start in server.starts()] == [0, 1]
    assert server.ends() == [{}, {}]
    assert server.headers[0]["Authorization"].endswith(KEY)


def test_it_labels_an_episode_that_is_recorded_again(record, make_arm, server):
    saved = record(make_arm(server), keys={2: RERECORD})
    discarded, *kept = server.frames()
    assert len(discarded) == 3
    assert kept == saved
    assert [start["episode"] for start in server.starts()] == [0, 0, 1]
    assert server.ends() == [DISCARDED, {}, {}]


def test_it_streams_the_reset_phase_as_a_session_of_its_own(record, make_arm, server):
    saved = record(make_arm(server, reset="stream"), keys={2: RERECORD}, episodes=1)
    assert [start.get("phase") for start in server.starts()] == [None, "reset", None]
    assert [len(frames) for frames in server.frames()] == [3, 3, 4]
    assert server.frames()[2:] == saved
    assert server.ends() == [DISCARDED, {}, {}]


def test_it_labels_an_episode_that_ctrl_c_interrupts(record, make_arm, server):
    def press_ctrl_c():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(make_arm(server), keys={2: press_ctrl_c})
    assert [len(frames) for frames in server.frames()] == [2]
    assert server.ends() == [{"tags": ["interrupted"]}]


@pytest.mark.parametrize(
    ("announcements", "frames"), [(("Recording episode 7", "Stop recording"), [1]), (("Stop recording",), [])]
)
def test_it_streams_nothing_after_the_end_of_the_recording(run_of_lerobot, make_arm, server, announcements, frames):
    arm, events = make_arm(server), Events()
    arm.connect()
    for announcement in announcements:
        run_of_lerobot.log_say(announcement)
        arm.send_action(events.teleop(arm.get_observation()))
    arm.disconnect()
    assert [len(session) for session in server.frames()] == frames
    assert server.ends() == [{}] * len(frames)


def test_it_streams_a_run_without_episodes_as_one_session(run_of_lerobot, make_arm, server):
    run_of_lerobot.teleoperate(make_arm(server), Events().teleop, frames=5)
    (frames,) = server.frames()
    assert [observation["gripper.pos"] for observation, _ in frames] == [1.5, 2.5, 3.5, 4.5, 5.5]
    assert "episode" not in server.starts()[0]
    assert server.ends() == [{}]


def test_it_streams_the_action_that_the_arm_carried_out(record, make_arm, server):
    saved = record(make_arm(server, {"max_relative_target": 1.7}))
    carried_out = [
        [(observation, {name: min(value, 1.7) for name, value in action.items()}) for observation, action in episode]
        for episode in saved
    ]
    assert server.frames() == carried_out != saved


def test_it_streams_both_arms_of_a_bimanual_robot(run_of_lerobot, make_bimanual, server):
    run_of_lerobot.teleoperate(make_bimanual(server), Events().teleop, frames=1)
    (((observation, action),),) = server.frames()
    assert len(observation) == len(action) == 12
    assert action["right_gripper.pos"] == 2.0


def test_it_gives_a_frame_the_time_of_its_observation(run_of_lerobot, make_arm, server):
    leader, observed_s = Events().teleop, [0.0]

    def late_leader(observation):
        observed_s.append(time.time())
        return leader(observation)

    run_of_lerobot.teleoperate(make_arm(server), late_leader, frames=3)
    (frames,) = server.sessions.values()
    times_s = [frames[number]["timestamp"] for number in range(3)]
    assert all(
        before <= at <= after for before, at, after in zip(observed_s[:-1], times_s, observed_s[1:], strict=True)
    )


def test_it_reads_the_wall_clock_anew_for_each_episode(run_of_lerobot, record, make_arm, server, monkeypatch):
    arm, clocks = make_arm(server), []

    class SteppedClock:
        def __init__(self):
            clocks.append(self)
            self.hour = len(clocks)

        def now_s(self):
            return 1_700_000_000.0 + 3600 * self.hour

    monkeypatch.setattr(run_of_lerobot.stream, "Clock", SteppedClock)
    record(arm)
    first, second = [frames[0]["timestamp"] for frames in server.sessions.values()]
    assert abs(second - first) == 3600


def test_it_begins_a_new_stream_when_the_robot_connects_again(run_of_lerobot, make_arm, server):
    arm = make_arm(server)
    for _ in range(2):
        run_of_lerobot.teleoperate(arm, Events().teleop, frames=2)
    assert [len(frames) for frames in server.frames()] == [2, 2]


def test_it_continues_the_session_if_a_connected_robot_is_connected(run_of_lerobot, make_arm, server):
    arm, leader = make_arm(server), Events().teleop
    for _ in range(2):
        arm.connect()
        arm.send_action(leader(arm.get_observation()))
    arm.disconnect()
    assert [len(frames) for frames in server.frames()] == [2]
    assert server.ends() == [{}]


def test_it_streams_two_robots_of_one_process(run_of_lerobot, record, make_arm, server, tmp_path):
    (file := tmp_path / "keys").write_text("robot_A key-of-A\nrobot_B key-of-B\n")
    file.chmod(0o600)
    arm, other = (make_arm(server, robot_id=robot_id, key_file=file) for robot_id in ("robot_A", "robot_B"))
    leader = Events().teleop

    def move_other():
        other.send_action(leader(other.get_observation()))

    other.connect()
    saved = record(arm, keys=dict.fromkeys(range(1, 4), move_other), episodes=1)
    other.disconnect()
    of_other, of_arm = sorted(server.frames(), key=len)
    assert [observation["shoulder_pan.pos"] for observation, _ in of_other] == [1.0, 2.0, 3.0]
    assert [of_arm] == saved
    assert server.ends() == [{}, {}]
    keys = {
        path.split("?")[0]: header["Authorization"] for path, header in zip(server.paths, server.headers, strict=True)
    }
    assert keys == {"/ws/log/robot_A": "Bearer key-of-A", "/ws/log/robot_B": "Bearer key-of-B"}


def test_it_sends_nothing_for_an_action_without_an_observation(run_of_lerobot, make_arm, server):
    arm, leader = make_arm(server), Events().teleop
    arm.connect()
    action = leader(arm.get_observation())
    for _ in range(3):
        arm.send_action(action)
    arm.disconnect()
    assert [len(frames) for frames in server.frames()] == [1]


def test_it_loses_nothing_if_the_server_dies_during_an_episode(record, make_arm, server):
    def restart():
        server.kill_now()
        server.call(server.start())

    saved = record(make_arm(server), keys={1: restart}, frames=20)
    assert server.frames() == saved
    assert server.ends() == [{}, {}]
