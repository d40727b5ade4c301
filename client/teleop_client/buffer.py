"""Hold the frames that the server has not acknowledged yet."""

from collections import OrderedDict, deque
from dataclasses import dataclass
from threading import Lock

# Length of the keys, index and comma that a frame gains on the wire.
WIRE_OVERHEAD = 40
# Above every index.
NONE = 1 << 31


@dataclass(slots=True)
class Frame:
    index: int
    data: bytes
    queued_at: float
    message: int = 0  # number of the message that last contained it; 0: never written, so the server cannot have it


class FrameBuffer:
    """Frames in index order: first those on the wire, then those that wait.

    With `max_frames` or `max_bytes` held, the newest frame is refused: held frames may be on the wire already, so
    dropping the oldest would save nothing there, and a reader can see and trim one gap at the end of an outage. The
    frame's index is used up, so the server counts the gap.

    Any thread may call `add`; one thread calls all other methods.
    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._bytes = 0
        self._next_index = 0
        self._unsent: deque[Frame] = deque()
        self._in_flight: OrderedDict[int, Frame] = OrderedDict()
        self.added = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._unsent) + len(self._in_flight)

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def first_unsent(self) -> int:
        """Return the first index, or NONE."""
        return self._unsent[0].index if self._unsent else NONE

    @property
    def first_in_flight(self) -> int:
        """Return the first index, or NONE."""
        return next(iter(self._in_flight), NONE)

    @property
    def last_in_flight(self) -> int:
        """Return the last index, or -1."""
        return next(reversed(self._in_flight), -1)

    def add(self, data: bytes, now: float) -> int | None:
        """Add a frame; return its index, or None if there was no room for it."""
        with self._lock:
            index = self._next_index
            self._next_index += 1
            if len(self) >= self._max_frames or self._bytes + len(data) > self._max_bytes:
                self.dropped += 1
                return None
            self._unsent.append(Frame(index, data, now))
            self._bytes += len(data)
            self.added += 1
            return index

    def take(self, count: int, max_bytes: int, message: int) -> list[Frame]:
        """Return up to `count` frames, the first of any size, to be written in message number `message`."""
        taken: list[Frame] = []
        with self._lock:
            while self._unsent and len(taken) < count:
                max_bytes -= len(self._unsent[0].data) + WIRE_OVERHEAD
                if taken and max_bytes < 0:
                    break
                frame = self._unsent.popleft()
                frame.message = message
                self._in_flight[frame.index] = frame
                taken.append(frame)
        return taken

    def pop_through(self, index: int) -> list[Frame]:
        """Remove and return the frames on the wire up to `index`."""
        popped: list[Frame] = []
        with self._lock:
            while self.first_in_flight <= index:
                popped.append(self._in_flight.popitem(last=False)[1])
            self._bytes -= sum(len(frame.data) for frame in popped)
        return popped

    def pop_matching(self, index: int | None, message: int | None) -> list[Frame]:
        """Remove and return the frame on the wire with `index`, or those written in `message` if `index` is None."""
        with self._lock:
            if index is not None:
                popped = [self._in_flight.pop(index)] if index in self._in_flight else []
            else:
                popped = [frame for frame in self._in_flight.values() if frame.message == message]
                for frame in popped:
                    del self._in_flight[frame.index]
            self._bytes -= sum(len(frame.data) for frame in popped)
        return popped

    def rewind(self) -> None:
        """Handle a lost connection: all frames wait again, oldest first."""
        with self._lock:
            self._unsent.extendleft(reversed(self._in_flight.values()))
            self._in_flight.clear()

    def pop_stored(self, next_frame_index: int) -> list[Frame]:
        """Remove and return waiting frames below `next_frame_index` that were written once: the server has them."""
        popped: list[Frame] = []
        with self._lock:
            while self.first_unsent < next_frame_index and self._unsent[0].message:
                popped.append(self._unsent.popleft())
            self._bytes -= sum(len(frame.data) for frame in popped)
        return popped

    def shift(self, first_index: int) -> None:
        """Renumber all frames from `first_index` on: an earlier process has stored lower indexes in this session."""
        with self._lock:
            self._next_index += first_index
            for frame in self._unsent:
                frame.index += first_index

    def close(self) -> None:
        """Drop every frame added from now on."""
        with self._lock:
            self._max_frames = 0
