"""Find the idle ends of episodes, in which no joint moves."""

import numpy as np

from datasets.types import Layout, Recording
from teleop.quality.scores import idle_steps

PARTS = ("observation.state", "action")


class IdleEnds:
    """The movement between all neighbouring frames of a session, as the quality score `idle_share` sees it.

    The joints are those of the observation, or, if it has none, of the action.
    """

    def __init__(self, recording: Recording, layout: Layout):
        self._times_us = recording.times_us
        # From the first frame on: float64 seconds of unix time are exact to 0.2 us only.
        seconds = (recording.times_us - recording.times_us[0]) / 1e6
        idle = idle_steps(seconds, _joints(recording, layout))
        self._is_moving = None if idle is None else ~idle

    def cut(self, begin_us: int, end_us: int) -> tuple[int, int] | None:
        """Return the times of the frames before the first and after the last movement between these two times.

        Return None if nothing moves. Where movement is not known (no joints, a few frames) the times stay.
        """
        if self._is_moving is None:
            return begin_us, end_us
        first = int(np.searchsorted(self._times_us, begin_us, "left"))
        last = int(np.searchsorted(self._times_us, end_us, "right")) - 1
        moving = np.flatnonzero(self._is_moving[first : max(first, last)])
        if not len(moving):
            return None
        return int(self._times_us[first + moving[0]]), int(self._times_us[first + moving[-1] + 1])


def _joints(recording: Recording, layout: Layout) -> list[np.ndarray]:
    features = {feature.key: feature for feature in layout.features if feature.names}
    for part in PARTS:
        if part in features:
            return [recording.columns[name] for name in features[part].columns if name in recording.columns]
    return []
