"""The loops of lerobot-record: `frames` in place of seconds, and `events` by the number of the loop."""

from lerobot.utils.utils import log_say


def record_loop(robot, teleop, events, frames, dataset=None):
    for _ in range(frames):
        if events["exit_early"]:
            events["exit_early"] = False
            break
        observation = robot.get_observation()
        action = teleop(observation)
        robot.send_action(action)
        if dataset is not None:
            dataset.append((observation, action))


def record(robot, teleop, events, *, episodes, frames, reset_frames):
    """Return the saved episodes, each a list of its observations and actions."""
    saved = []
    try:
        robot.connect()
        while len(saved) < episodes and not events["stop_recording"]:
            log_say(f"Recording episode {len(saved)}")
            dataset = []
            record_loop(robot, teleop, events, frames, dataset)
            if not events["stop_recording"] and (len(saved) < episodes - 1 or events["rerecord_episode"]):
                log_say("Reset the environment")
                record_loop(robot, teleop, events, reset_frames)
            if events["rerecord_episode"]:
                log_say("Re-record episode")
                events["rerecord_episode"] = events["exit_early"] = False
                continue
            saved.append(dataset)
    finally:
        log_say("Stop recording", blocking=True)
        if robot.is_connected:
            robot.disconnect()
    return saved
