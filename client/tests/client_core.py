"""A core with a fake clock and short methods to exchange messages with it."""

import json
import random

from teleop_client import ClientProtocol, TeleopError

NOW = 1703318400.0


class Core(ClientProtocol):
    def __init__(self, **options):
        self.now = 0.0
        self.latencies: list[float] = []
        self.errors: list[TeleopError] = []
        super().__init__(
            **{"on_ack": self.latencies.extend, "on_error": self.errors.append} | options,
            clock=lambda: self.now,
            rng=random.Random(1),
        )

    def put(self, count=1):
        return [self.send({"a.pos": 0.5}, None, NOW, {}) for _ in range(count)]

    def say(self, **message):
        self.receive(json.dumps(message))

    def greet(self, next_frame_index=0, max_unacked=6000, **fields):
        """Connect, greet the core, and take the `start` from it."""
        self.connected()
        fields |= {"session_id": 17, "session": "s", "next_frame_index": next_frame_index, "max_unacked": max_unacked}
        self.say(type="session", **fields)
        assert self.written(1)[0]["type"] == "start"
        return self

    def ack(self, frame_index):
        self.say(type="ack", frame_index=frame_index)

    def refuse(self, code, message, frame_index=None):
        self.say(type="error", code=code, message=message, frame_index=frame_index, detail="why")

    def written(self, most=None):
        """Return the messages that the core writes now, as objects."""
        messages = []
        while (most is None or len(messages) < most) and (message := self.next_message()) is not None:
            messages.append(json.loads(message))
        return messages

    def write_frames(self, most=None):
        """Return the indexes of the frames in each message that the core writes now."""
        return [[f["frame_index"] for f in m.get("frames", [m])] for m in self.written(most)]
