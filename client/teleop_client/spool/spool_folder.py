"""Own a folder of segments: lock it, list it, create files in it, and remove it."""

import contextlib
import os
import re
import sys
from io import FileIO
from pathlib import Path

from .. import system
from ..errors import SpoolInUse, SpoolUnusable
from .records import MAGIC

LOCK_TRIES = 10
_NAME = re.compile(r"(\d{6,})\.spool")


class SpoolFolder:
    """A folder with `lock` and the segments `000001.spool`, `000002.spool`, ... Only this user can read them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: FileIO | None = None

    def lock(self) -> None:
        """Create the folder and lock it, unless this object has done so and the folder is still the same.

        Raise SpoolInUse or OSError.
        """
        path = self.path / "lock"
        if self._lock and is_at(self._lock, path):
            return
        self.unlock()
        for _ in range(LOCK_TRIES):
            for folder in [each for each in (*reversed(self.path.parents), self.path) if not each.is_dir()]:
                folder.mkdir(mode=0o700, exist_ok=True)
            try:
                self._lock = _open_private(path)
            except FileNotFoundError:  # its last owner has just removed the folder
                continue
            if not system.lock(self._lock.fileno()):
                break
            if is_at(self._lock, path):
                return
            self.unlock()  # its last owner has just removed the file
        self.unlock()
        raise SpoolInUse(f"the spool {self.path} is in use by another client")

    def unlock(self) -> None:
        """Close the lock file, here only: if a forked process has it open too, the folder stays locked."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def segment(self, number: int) -> Path:
        return self.path / f"{number:06}.spool"

    def create(self, number: int) -> FileIO:
        """Create a segment. Raise OSError."""
        return _open_private(self.segment(number), os.O_EXCL)

    def sync(self) -> None:
        """Block until the names of all segments are on the disk. Raise OSError."""
        system.sync_folder(self.path)

    def sizes(self) -> dict[int, int]:
        """Return the size of each segment in bytes by number, in order. Raise OSError."""
        with os.scandir(self.path) as entries:
            sizes = {int(match[1]): entry.stat().st_size for entry in entries if (match := _NAME.fullmatch(entry.name))}
        return dict(sorted(sizes.items()))

    def check_version(self, numbers: list[int]) -> None:
        """Raise SpoolUnusable if the newest segment that has its magic is of a newer version."""
        for number in reversed(numbers):
            with contextlib.suppress(OSError), open(self.segment(number), "rb") as file:
                magic = file.read(len(MAGIC))
                if magic[:-1] == MAGIC[:-1] and magic[-1:].isdigit():
                    if magic > MAGIC:
                        raise SpoolUnusable(f"the spool {self.path} was written by a newer version of this client")
                    return

    def remove(self) -> None:
        """Delete the segments, the lock and the folder, unless there is something else in it. Unlock it."""
        with contextlib.suppress(OSError):
            for number in self.sizes():
                self.segment(number).unlink(missing_ok=True)
            if sys.platform == "win32":  # see is_at
                self.unlock()
            (self.path / "lock").unlink(missing_ok=True)
            self.path.rmdir()
        self.unlock()


def _open_private(path: Path, flags: int = 0) -> FileIO:
    return open(path, "ab", buffering=0, opener=lambda path, others: os.open(path, others | flags, 0o600))


def is_at(file: FileIO, path: Path) -> bool:
    """Return whether the open file is still the one at `path`."""
    if sys.platform == "win32":  # no open file can be deleted there
        return path.exists()
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (OSError, ValueError):
        return False
