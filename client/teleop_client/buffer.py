"""Hold the frames that the server has not acknowledged yet: in memory, and in the spool if there is one."""

from collections import OrderedDict, deque
from dataclasses import dataclass
from itertools import takewhile
from threading import RLock

from .clock import TimeBase
from .spool.segments import Position
from .spool.session_spool import Spool

# Length of the keys, index, time and commas that a frame gains on the wire.
WIRE_OVERHEAD = 80
# Above every index.
NONE = 1 << 31
# Of a spool's frames so many are also in memory, for the wire; the others are read again when their turn comes.
MEMORY_FRAMES, MEMORY_BYTES = 6000, 8 << 20
SMALL_BYTES = 16 << 10  # below the 32 KiB from which on websockets waits for the socket
LOAD_BYTES = 64 << 10


@dataclass(slots=True)
class Frame:
    """A frame in memory. Its time is in seconds since `base`, or in unix seconds if there is no base."""

    index: int
    time_s: float
    base: TimeBase | None
    data: bytes
    queued_at: float
    position: Position | None  # in the spool, or where the spool ended when it did not take the frame
    message: int = 0  # number of the message that last contained it; 0: never written, so the server cannot have it

    @property
    def time(self) -> bytes:
        """Return the text of the unix time: all digits of a time that the program gave, as a frame may be sent twice.

        Microseconds are the precision of the server.
        """
        return b"%.6f" % self.base.time_s(self.time_s) if self.base else repr(self.time_s).encode()


class FrameBuffer:
    """Frames in index order: first those on the wire, then those that wait in memory, then those only in the spool.

    A frame for which there is no room is refused, and not the oldest one: held frames may be on the wire already, so
    dropping the oldest would save nothing there, and a reader can see and trim one gap at the end of an outage. The
    frame's index is used up, so the server counts the gap.

    Without a spool `max_frames` and `max_bytes` are the room. With a spool it is the spool's quota; the two bounds
    then count for frames that the disk does not take.

    Any thread may call `add`; one thread calls all other methods.
    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._lock = RLock()  # a signal handler may call `add`
        self._bytes = 0
        self._unsent: deque[Frame] = deque()
        self._in_flight: OrderedDict[int, Frame] = OrderedDict()
        self._spool: Spool | None = None
        self._cursor: Position | None = None  # of the first frame that is only in the spool
        self._only_spooled = 0
        self._skip_through = -1
        self._last = -1  # the index of the frame before the next one
        self._is_closed = self._is_adding = False
        self.next_index = 0
        self.first_index = 0  # of this process
        self._shift_from = 0  # frames from here on were never written to a server
        self.added = self.dropped = self.recovered = self.unspooled = 0

    def attach(self, spool: Spool) -> None:
        """Continue after the frames of an earlier process, and keep all frames in the spool from now on."""
        self._spool = spool
        self.next_index = self.first_index = spool.first_index
        self._shift_from = spool.state["unsent_from"]
        self._skip_through = spool.state["settled"]
        if spool.backlog:
            self._cursor, self._only_spooled = spool.log.first, spool.backlog

    @property
    def is_spooled(self) -> bool:
        return self._spool is not None

    def __len__(self) -> int:
        return len(self._unsent) + len(self._in_flight) + self._only_spooled

    @property
    def unsent(self) -> int:
        return len(self._unsent) + self._only_spooled

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def is_small(self) -> bool:
        """Return whether all frames together make a message of at most SMALL_BYTES."""
        frames = len(self._unsent) + len(self._in_flight)
        return self._cursor is None and self._bytes + frames * WIRE_OVERHEAD <= SMALL_BYTES

    @property
    def first_unsent(self) -> int:
        """Return the first index in memory, or NONE."""
        return self._unsent[0].index if self._unsent else NONE

    @property
    def first_in_flight(self) -> int:
        """Return the first index, or NONE."""
        return next(iter(self._in_flight), NONE)

    @property
    def last_in_flight(self) -> int:
        """Return the last index, or -1."""
        return next(reversed(self._in_flight), -1)

    @property
    def settled(self) -> int:
        """Return the index up to which every frame is acknowledged or refused."""
        with self._lock:  # otherwise a frame that is being added would count as settled
            first = min(self.first_in_flight, self.first_unsent)
            if first < NONE:
                return first - 1
            return self._skip_through if self._cursor else self.next_index - 1

    def add(
        self, time_s: float, base: TimeBase | None, data: bytes, now: float, index: int | None = None
    ) -> int | None:
        """Add a frame; return its index, or None if there was no room for it.

        A program that numbers its frames may send those again that are in the spool or were sent from there: they are
        not added. Raises ValueError if `index` is not above that of the frame before, or above the highest.
        """
        with self._lock:
            if self._is_adding:  # this is a signal handler, which has interrupted `add`
                self.dropped += 1
                return None
            self._is_adding = True
            try:
                return self._add(time_s, base, data, now, index)
            finally:
                self._is_adding = False

    def _add(self, time_s: float, base: TimeBase | None, data: bytes, now: float, index: int | None) -> int | None:
        is_explicit = index is not None
        index = self.next_index if index is None else index
        if not self._last < index < NONE:
            raise ValueError(f"frame_index is {index}; {self._last + 1} to {NONE - 1} expected")
        self._last = index
        if is_explicit and self._spool and index <= self._spool.last_index:
            if self._spool.is_kept(index):
                return index
            self.dropped += 1  # its place is before frames that wait already
            return None
        self.next_index = index + 1
        position = None
        if self._spool and not self._is_closed:
            position = self._spool.add_frame(index, time_s, base, data)
        if is_explicit and self._spool and position is None:
            self._spool.note_hole(index)
        if not self._hold(Frame(index, time_s, base, data, now, position)):
            self.dropped += 1
            return None
        self.added += 1
        return index

    def _hold(self, frame: Frame) -> bool:
        """Hold a new frame in memory, or only in the spool, or return False."""
        if self._is_closed:
            return False
        frames, size = len(self._unsent) + len(self._in_flight), self._bytes + len(frame.data)
        if frame.position:
            if self._cursor is None and frames < MEMORY_FRAMES and size <= MEMORY_BYTES:
                self._push(frame)
            else:
                self._cursor = self._cursor or frame.position
                self._only_spooled += 1
            return True
        if self._cursor:
            return False  # behind frames that are only on disk a frame in memory would lose its place
        if frames >= self._max_frames or size > self._max_bytes:
            return False
        if self._spool:
            self.unspooled += 1
            frame.position = self._spool.log.end
        self._push(frame)
        return True

    def _push(self, frame: Frame) -> None:
        self._unsent.append(frame)
        self._bytes += len(frame.data)

    def load(self, now: float) -> None:
        """Read the next frames that are only in the spool, if no other frames wait."""
        while self._cursor and self._spool and not self._unsent:
            found, end = self._spool.load(self._cursor, LOAD_BYTES)
            frames = [
                Frame(each.index, each.time_s, each.base, each.data, now, each.position)
                for each in found
                if each.index > self._skip_through
            ]
            with self._lock:
                for frame in frames:
                    self._push(frame)
                self._only_spooled = max(self._only_spooled - len(frames), 0)
                # Frames that `add` has appended since are behind `end`.
                has_read, self._cursor = end > self._cursor, end if end < self._spool.log.end else None
                if self._cursor is None:
                    self._only_spooled = 0
            if frames:
                self._skip_through = frames[-1].index
                self.recovered += sum(frame.index < self.first_index for frame in frames)
            if not has_read:  # too many files are open in this process: the next call tries again
                return

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
        with self._lock:
            popped = list(takewhile(lambda frame: frame.index <= index, self._in_flight.values()))
            for frame in popped:
                del self._in_flight[frame.index]
                self._bytes -= len(frame.data)
        self._release()
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
        self._release()
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
        self._release()
        return popped

    def _release(self) -> None:
        """Delete the spool's segments in which every frame is settled."""
        if self._spool:
            with self._lock:
                oldest = next(iter(self._in_flight.values()), None) or (self._unsent[0] if self._unsent else None)
                before = (oldest and oldest.position) or self._cursor or self._spool.log.end
            self._spool.release(before)

    def shift(self, next_frame_index: int) -> int:
        """Move the frames that were never written behind those that the server has; return by how much.

        Another process has stored frames in this session.
        """
        by = next_frame_index - self._shift_from
        if by <= 0:
            return 0
        with self._lock:
            for frame in self._unsent:
                if frame.index >= self._shift_from:
                    frame.index += by
            if self._spool:
                self._spool.note_shift(self._shift_from, by)
            self.next_index += by
            self.first_index += by
            self._shift_from = next_frame_index
        return by

    def close(self) -> None:
        """Drop every frame added from now on."""
        with self._lock:
            self._is_closed = True
