"""Keep records in an append-only log on the disk, in segment files; know nothing about sessions."""

import contextlib
import errno
import sys
import threading
import time
from collections.abc import Callable, Iterable
from io import FileIO
from pathlib import Path

from .. import system
from ..errors import SpoolUnusable
from .records import CHECKPOINT_END, HEADER_BYTES, MAGIC, MAX_DATA_BYTES, Damaged, Position, Record, encode, parse
from .spool_folder import SpoolFolder, is_at
from .sync_thread import sync_thread

__all__ = ["Position", "Record", "SegmentLog"]

BUFFER_BYTES = 64 << 10
CHECK_INTERVAL_S = 1.0  # of the free disk, and between attempts after an error
# A full log goes on when there is room for so much, so that it is not full again at once.
ROOM_TO_GO_ON = 64 << 10

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# The process or the machine is short of something for now; the segment may be in order.
_TRANSIENT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the user's disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "there is no permission to write to the folder",
    errno.EPERM: "there is no permission to write to the folder",
    errno.EIO: "the disk reports errors",
    errno.ENOENT: "the folder was deleted",
}


class _Segment:
    """A segment that is open for appending."""

    __slots__ = ("file", "number", "size", "start", "synced")

    def __init__(self, number: int, file: FileIO) -> None:
        self.number = number
        self.file = file
        self.size = self.synced = 0  # bytes written and bytes on the disk
        self.start = 0  # behind the checkpoint

    def write(self, data: bytes) -> None:
        """Append all of `data`. Raise OSError, perhaps after a part."""
        written = self.file.write(data)
        if written != len(data) and self.file.write(data[written:]) != len(data) - written:
            raise OSError(errno.ENOSPC, "short write")
        self.size += len(data)

    def cut(self) -> None:
        """Remove the part that an unfinished write left behind. Raise OSError."""
        self.file.truncate(self.size)

    def sync(self) -> None:
        """Block until all that was written before is on the disk. Raise OSError."""
        size = self.size
        if size > self.synced:
            system.sync_data(self.file.fileno())
            self.synced = size


class SegmentLog:
    """A log of records that survives the process, and a power cut but for the last `sync_interval_s`.

    `append` may be called from any thread; it never raises, and never waits for a sync. One thread per process syncs
    all logs, opens new segments and deletes released ones. Every segment begins with the records, (number, data), that
    `checkpoint` returns. It is called while appends wait, so it must not wait for a lock that is held during `append`.

    Appends are refused while the segments together hold `quota_bytes` (None: half of the disk that is free now, and
    what the folder holds), or while the disk has less than `min_free_bytes` free. In a forked child the log is closed.
    """

    def __init__(
        self,
        folder: Path,
        checkpoint: Callable[[], Iterable[tuple[int, bytes]]],
        *,
        quota_bytes: int | None = None,
        min_free_bytes: int = 1 << 30,
        segment_bytes: int = 8 << 20,
        sync_interval_s: float = 0.1,
    ) -> None:
        """Create the folder if there is none, and lock it.

        Raise SpoolInUse if it is locked, and SpoolUnusable if it cannot be written to or belongs to a newer version.
        """
        self.problem: str | None = None  # why appends fail now, in words
        self.is_full = False  # the quota or min_free_bytes is reached
        self.bound = ""  # the one that is nearer, in numbers
        self.other_bytes = 0  # of other files of the owner, which count towards the quota
        self.interval_s = sync_interval_s
        self._checkpoint = checkpoint
        self._min_free_bytes = min_free_bytes
        self._segment_bytes = segment_bytes
        # _io is held while files are opened, synced and deleted. _lock, inside it or alone, is held for a moment; it
        # is reentrant because a signal handler may interrupt `append` and call it.
        self._io = threading.Lock()
        self._lock = threading.RLock()
        self._synced = threading.Condition()
        self._segment: _Segment | None = None  # the current one
        self._writable: _Segment | None = None  # the current one, unless a write to it failed or is not finished
        self._retired: list[_Segment] = []  # not synced and closed yet
        # A record of the state was refused: no later one may be in this segment. The next checkpoint has its contents.
        self._is_incomplete = False
        self._room = 0  # bytes that may be appended until the next check
        self._full = ""  # which bound the room comes from, in words
        self._closed = False
        self._check_at = self._retry_at = self._reopen_at = 0.0
        self._release_before = Position(0, 0)
        self._may_delete = True
        self._damaged: set[int] = set()
        self._last_unsynced = 0  # number of the last segment of which a sync failed
        self._last_checkpoint = 0  # number of the last segment of which the checkpoint is on the disk
        self._folder = SpoolFolder(folder)
        try:
            self._folder.lock()
            # Without the current segment, in order. 0 stands for a segment with nothing but a checkpoint.
            self._old = self._folder.sizes()
            self._folder.check_version(list(self._old))
            if quota_bytes is None:
                quota_bytes = system.free_bytes(folder) // 2 + self.used_bytes
        except BaseException as error:
            self._folder.unlock()
            if isinstance(error, OSError):
                raise SpoolUnusable(f"the spool {folder} cannot be used: {_in_words(error)}") from error
            raise
        self.quota_bytes = quota_bytes
        self._next_number = max(self._old, default=0) + 1
        self._durable = self.end
        sync_thread.add(self)

    @property
    def first(self) -> Position:
        """Return the position of the oldest record."""
        with self._lock:
            return Position(next(iter(self._old), self.end.segment), len(MAGIC))

    @property
    def end(self) -> Position:
        """Return the position behind the last record."""
        segment = self._segment
        return Position(segment.number, segment.size) if segment else Position(self._next_number, len(MAGIC))

    @property
    def used_bytes(self) -> int:
        with self._lock:
            return sum(self._old.values()) + (self._segment.size if self._segment else 0)

    @property
    def damaged_segments(self) -> int:
        """Return how many of the segments that were read have lost records."""
        return len(self._damaged)

    def newest(self) -> list[Record]:
        """Return the readable records of the newest old segment whose checkpoint is complete, [] if there is none."""
        for number, size in reversed(self._old.items()):
            records: list[Record] = []
            is_complete = is_empty = False
            try:
                with open(self._folder.segment(number), "rb") as file:
                    for record in parse(file, Position(number, len(MAGIC)), size):
                        is_empty = record.number == CHECKPOINT_END
                        if is_empty:
                            is_complete = True
                        else:
                            records.append(record)
            except (OSError, Damaged):
                self._damaged.add(number)
            if is_complete:
                self._last_checkpoint = max(self._last_checkpoint, number)
                if is_empty:  # a process that is restarted again and again must not leave such behind
                    self._old[number] = 0
                return records
        return []

    def start(self) -> None:
        """Open a new segment and begin with the work in the background. On an error `problem` is set."""
        with contextlib.suppress(OSError):
            system.sync_folder(self._folder.path.parent)  # the folder may be new
        self.work()
        sync_thread.start(self)

    def append(self, number: int, data: bytes, is_state: bool = False) -> Position | None:
        """Append a record to the page cache by one write; return its position, or None if it could not be written.

        `number` is below CHECKPOINT_END; `data` has at most MAX_DATA_BYTES. A record of the state, of which the
        checkpoint knows too, is written beyond the quota; if it cannot be written, a new segment begins.
        """
        if len(data) > MAX_DATA_BYTES or not 0 <= number < CHECKPOINT_END:
            return None
        with self._lock:
            position = self._append(encode(number, data), is_state)
            self._is_incomplete |= is_state and position is None
            return position

    def _append(self, record: bytes, is_state: bool) -> Position | None:
        segment = self._writable
        if segment is None or self._is_incomplete:
            return None
        if len(record) > self._room and not is_state:
            if self.problem is None:
                self._room, self.is_full, self.problem = 0, True, self._full
            return None
        position = Position(segment.number, segment.size)
        self._writable = None  # a signal handler may call append, or raise, before the write is finished
        try:
            segment.write(record)
        except (OSError, ValueError) as error:
            self._write_failed(segment, error)
            return None
        self._writable = segment
        self._room -= len(record)
        if self.problem is not None and not self.is_full:
            self.problem = None
        return position

    def read(self, position: Position, max_bytes: int) -> tuple[list[Record], Position]:
        """Return the records from `position` on, and the position behind them.

        They have at most `max_bytes`, unless the first record alone has more. The records behind a damaged one in its
        segment are left out. There are none at the end, and while the process cannot open files.
        """
        records: list[Record] = []
        while True:
            with self._lock:
                position, end = self._next_record(position), self.end
                if position >= end:
                    return records, position
                number = position.segment
                size = end.offset if number == end.segment else self._old[number]
            try:
                with open(self._folder.segment(number), "rb", buffering=BUFFER_BYTES) as file:
                    for record in parse(file, position, size):
                        record_bytes = HEADER_BYTES + len(record.data)
                        if record.number != CHECKPOINT_END:
                            max_bytes -= record_bytes
                            if records and max_bytes < 0:
                                return records, position
                            records.append(record)
                        position = Position(number, record.position.offset + record_bytes)
            except (OSError, Damaged) as error:
                if isinstance(error, OSError) and error.errno in _TRANSIENT:
                    return records, position
                self._damaged.add(number)
                position = Position(number, size)

    def _next_record(self, position: Position) -> Position:
        """Move a position at the end of an old segment to the next segment, and any other behind the magic."""
        number, current = position.segment, self.end.segment
        if number < current and position.offset >= self._old.get(number, 0):
            position = Position(next((other for other in self._old if other > number), current), 0)
        return max(position, Position(position.segment, len(MAGIC)))

    def release(self, before: Position) -> None:
        """Let the thread delete the old segments that lie before this position. `end` releases all records."""
        self._release_before = max(self._release_before, before)
        self._may_delete = True

    def sync(self, timeout_s: float | None = None) -> bool:
        """Block until all that was appended before is on the disk; return whether it is."""
        target, failed = self.end, self._last_unsynced
        with self._synced:
            if sync_thread.wake(self):
                self._synced.wait_for(
                    lambda: self._durable >= target or self._last_unsynced > failed or self._closed, timeout_s
                )
            return self._durable >= target and self._last_unsynced < self.first.segment

    def close(self, remove: bool = False) -> None:
        """Sync the log, or remove its folder, and unlock it. Wait for a sync that is under way."""
        with self._lock:
            if self._closed or sys.is_finalizing():  # the thread may have stopped with _io held
                return
            self._closed, self._writable, self.problem = True, None, "the spool is closed"
        sync_thread.remove(self)
        with self._io:
            try:
                if not remove:
                    self._sync()
                    self._delete_released()
            finally:
                self._close_files()
                if remove:
                    self._folder.remove()
                self._folder.unlock()
        with self._synced:
            self._synced.notify_all()

    def close_in_child(self) -> None:
        """Close the files after a fork, and leave the lock with the parent."""
        self._io, self._lock, self._synced = threading.Lock(), threading.RLock(), threading.Condition()
        self._closed, self._writable, self.problem = True, None, "the spool belongs to the parent process"
        self._close_files()
        self._folder.unlock()

    def work(self) -> None:
        """Sync, open a new segment and delete released ones, if that is necessary. The sync thread calls this."""
        with self._io:
            if self._closed:
                return
            now = time.monotonic()
            if now >= self._check_at:
                self._check_at = now + CHECK_INTERVAL_S
                self._check_file()
                self._update_room()
            if now >= self._retry_at and self._needs_segment(now):
                try:
                    self._folder.lock()
                    self._open_segment()
                    self._reopen_at = now + CHECK_INTERVAL_S
                except Exception as error:  # whatever it is, the next attempt may succeed
                    self._retry_at = now + CHECK_INTERVAL_S
                    with self._lock:
                        if self._writable is None and not self._closed:
                            self.problem = _in_words(error)
            self._sync()
            if self._may_delete:
                self._delete_released()

    # All below is called with _io held, except _write_failed.

    def _check_file(self) -> None:
        """Abandon the current segment if its file was deleted."""
        segment = self._segment
        if segment and not is_at(segment.file, self._folder.segment(segment.number)):
            self._abandon(segment)

    def _abandon(self, segment: _Segment) -> None:
        """Write no more to a segment that may not be on the disk after a power cut."""
        self._last_unsynced = segment.number
        with self._lock:
            if self._writable is segment:
                self._writable = None

    def _update_room(self) -> None:
        try:
            free_bytes = system.free_bytes(self._folder.path)
        except OSError:
            free_bytes = self.quota_bytes + self._min_free_bytes  # a write will find out
        with self._lock:
            used_bytes, free = self.used_bytes + self.other_bytes, free_bytes - self._min_free_bytes
            allowed = self.quota_bytes - used_bytes
            if allowed <= free:
                self._full = "the spool has reached its quota"
                self.bound = f"it has {used_bytes:,} bytes, and max_spool_bytes is {self.quota_bytes:,}"
            else:
                self._full = "the disk is almost full"
                self.bound = f"{free_bytes:,} bytes are free, and min_free_bytes is {self._min_free_bytes:,}"
            room = min(free, allowed)
            if room < (min(ROOM_TO_GO_ON, self.quota_bytes // 4) if self.is_full else 1):
                self._room, self.is_full, self.problem = 0, True, self._full
            else:
                self._room = room
                if self.is_full:
                    self.is_full, self.problem = False, None

    def _needs_segment(self, now: float) -> bool:
        segment = self._segment
        if segment is None or self._writable is None:
            with self._lock:  # an append may be under way
                return self._writable is None and not self._closed and now >= self._reopen_at
        if self._is_incomplete:
            with self._lock:  # an append may be under way
                return self._is_incomplete and now >= self._reopen_at
        # A full log has to give up its current segment too if all of it is released.
        is_done = self.is_full and segment.size > segment.start and self._release_before >= self.end
        return is_done or segment.size >= self._segment_bytes

    def _open_segment(self) -> None:
        segment = _Segment(self._next_number, self._folder.create(self._next_number))
        try:
            segment.write(MAGIC)
            self._folder.sync()
            with self._lock:
                checkpoint = [*self._checkpoint(), (CHECKPOINT_END, b"")]
                segment.write(b"".join(encode(number, data) for number, data in checkpoint))
                segment.start = segment.size
                self._replace(self._segment, segment)
        except BaseException:
            segment.file.close()
            self._folder.segment(segment.number).unlink(missing_ok=True)
            raise

    def _replace(self, previous: _Segment | None, segment: _Segment) -> None:
        if previous:
            if self._writable is None:
                with contextlib.suppress(OSError, ValueError):
                    previous.cut()
            is_empty = previous.size == previous.start
            self._old[previous.number] = 0 if is_empty else previous.size
            self._retired.append(previous)
            self._may_delete = True
        self._next_number += 1
        self._segment = segment
        self._writable = None if self._closed else segment
        self._is_incomplete = False
        self._room -= segment.size
        if not (self.is_full or self._closed):
            self.problem = None

    def _write_failed(self, segment: _Segment, error: Exception) -> None:
        """Undo a write. Go on with the segment only if just the disk is full."""
        self.problem = _in_words(error)
        with contextlib.suppress(OSError, ValueError):
            segment.cut()
            if isinstance(error, OSError) and error.errno in _DISK_FULL:
                self._room = 0  # until the next check
                self._writable = segment

    def _sync(self) -> None:
        end = self.end
        for segment in self._open_segments():
            try:
                segment.sync()
                if segment.number > self._last_unsynced:
                    self._last_checkpoint = segment.number
            except (OSError, ValueError):
                segment.synced = segment.size  # Linux drops the data and would report success the next time
                self._abandon(segment)
        for segment in self._retired:
            with contextlib.suppress(OSError):
                segment.file.close()
        self._retired.clear()
        with self._synced:
            self._durable = end
            self._synced.notify_all()

    def _delete_released(self) -> None:
        """Delete released segments, and those without records, that are older than the last checkpoint on the disk."""
        self._may_delete = self._last_checkpoint < self.end.segment  # then there may be more to delete later
        released = [
            number
            for number, size in self._old.items()
            if number < self._last_checkpoint and (Position(number, size) <= self._release_before or size <= len(MAGIC))
        ]
        for number in released:
            try:
                self._folder.segment(number).unlink(missing_ok=True)
            except OSError:  # on Windows, while it is read
                self._may_delete = True
            else:
                with self._lock:
                    del self._old[number]
        if released:
            self._update_room()

    def _close_files(self) -> None:
        for segment in self._open_segments():
            with contextlib.suppress(OSError):
                segment.file.close()

    def _open_segments(self) -> list[_Segment]:
        return [*self._retired, self._segment] if self._segment else []


def _in_words(error: BaseException) -> str:
    if isinstance(error, OSError):
        return _WORDS.get(error.errno or 0) or error.strerror or str(error)
    return f"{type(error).__name__}: {error}"
