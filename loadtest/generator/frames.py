"""Build the frames that robots send: ~500 bytes each, in the report's shape."""

import json
import random

FPS = 60


def template(rng: random.Random) -> bytes:
    """Return a frame with %d and %.3f for frame_index and timestamp: building each anew would load the generator."""

    def values(length: int, most: float) -> list[float]:
        return [rng.uniform(-most, most) for _ in range(length)]

    observation = {"joint_positions": values(6, 3.14), "joint_velocities": values(6, 1), "gripper": rng.random()}
    action = {"joint_positions": values(6, 3.14), "gripper": rng.random()}
    body = json.dumps({"observation": observation, "action": action}, separators=(",", ":"))
    return b'{"frame_index":%d,"timestamp":%.3f,' + body[1:].encode()


def message(frame: bytes, first_index: int, count: int, timestamp: float) -> bytes:
    """Return one frame, or a batch of the `count` frames that were captured up to now."""
    if count == 1:
        return frame % (first_index, timestamp)
    frames = (frame % (first_index + n, timestamp - (count - 1 - n) / FPS) for n in range(count))
    return b'{"frames":[%s]}' % b",".join(frames)
