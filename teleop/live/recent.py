from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple


class News(NamedTuple):
    """A reader's new frames, the number of frames it missed, and the position for its next request."""

    frames: list[bytes]
    missed: int
    position: int


class RecentFrames:
    """The newest frames of one robot, numbered in order of arrival; each reader requests the frames after its position.

    Frames older than `max_age_s` or beyond `max_bytes` are dropped, the oldest first; a reader that had not read them
    receives the number of missed frames.
    """

    def __init__(self, max_age_s: float, max_bytes: int, clock: Callable[[], float]):
        self.position = 0  # the next frame's number
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._frames: deque[tuple[int, float, bytes]] = deque()
        self._bytes = 0

    def add(self, frames: Sequence[bytes], lost: int = 0) -> None:
        """Add frames; `lost` frames before these never arrived."""
        now = self._clock()
        self.position += lost
        for frame in frames:
            self._frames.append((self.position, now, frame))
            self._bytes += len(frame)
            self.position += 1
        while self._frames and (self._bytes > self._max_bytes or now - self._frames[0][1] > self._max_age_s):
            self._bytes -= len(self._frames.popleft()[2])

    def clear(self) -> None:
        self._frames.clear()
        self._bytes = 0

    def since(self, position: int) -> News:
        frames: deque[bytes] = deque()
        for number, _, frame in reversed(self._frames):
            if number < position:
                break
            frames.appendleft(frame)
        return News(list(frames), self.position - position - len(frames), self.position)
