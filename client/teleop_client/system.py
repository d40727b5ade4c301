"""Call what differs between Linux, macOS and Windows: file locks, syncs, clocks, the boot's id, free disk."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# wall_and_elapsed() is satisfied if both clocks were read within this time; it tries so many times.
CLOCKS_APART_S = 0.001
CLOCK_TRIES = 5


def elapsed_s() -> float:
    """Return the seconds of a clock that no one sets, and that runs while the machine is suspended."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC)  # time.monotonic() stops there while the machine sleeps
    return time.perf_counter()  # on Windows, time.monotonic() has a resolution of 15.6 ms


def wall_and_elapsed() -> tuple[float, float]:
    """Return the wall clock (unix seconds) and elapsed_s() of one moment, to about a millisecond or better."""
    best, wall, elapsed = float("inf"), 0.0, 0.0
    for _ in range(CLOCK_TRIES):  # the process may be suspended between two readings
        before, now, after = elapsed_s(), time.time(), elapsed_s()
        if after - before < best:
            best, wall, elapsed = after - before, now, (before + after) / 2
        if best <= CLOCKS_APART_S:
            break
    return wall, elapsed


def boot_id() -> str | None:
    """Return an id that changes whenever the machine starts, or None where the system has none."""
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        if sys.platform == "linux":
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() or None
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            answer = subprocess.run(command, capture_output=True, check=True, text=True, timeout=5)
            return answer.stdout.strip() or None
    return None


def lock(fd: int) -> bool:
    """Lock an open file until it is closed. Return False if another open file holds the lock, in any process.

    Raise OSError if the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            os.lseek(fd, 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True


def sync_data(fd: int) -> None:
    """Block until the data of an open file is on the disk, also after a power cut. Raise OSError."""
    if sys.platform == "darwin":
        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync leaves the data in the disk's cache there
        except OSError:  # not on every file system
            os.fsync(fd)
    elif sys.platform == "win32":
        os.fsync(fd)
    else:
        os.fdatasync(fd)


def sync_folder(path: Path) -> None:
    """Block until the names of new files in a folder are on the disk. Windows has no such call. Raise OSError."""
    if sys.platform == "win32":
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot sync a folder
            raise
    finally:
        os.close(fd)


def free_bytes(path: Path) -> int:
    """Return how much the user of this process can still write to the disk of `path`. Raise OSError."""
    return shutil.disk_usage(path).free
