"""A folder as a tar, of which any part can be read.

Nothing is written to the disk, and the same folder has the same bytes each time.
"""

import hashlib
import os
import tarfile
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

BLOCK, RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE
FILE_MODE = 0o644
MAX_SHORT_SIZE = 8**11  # a larger one needs a longer header
MODIFIED = 315_532_800  # 1980-01-01: tar warns of a time at the epoch


class Changed(EOFError):
    """A file of the folder is missing or has become shorter, so the rest of the tar would be wrong."""


class Member(NamedTuple):
    """A file in the tar: its header, then its bytes, then zeros up to a whole block."""

    path: str
    name: str
    size: int

    @property
    def header(self) -> bytes:
        info = tarfile.TarInfo(self.name)
        info.size, info.mode, info.mtime = self.size, FILE_MODE, MODIFIED
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")

    @property
    def header_length(self) -> int:
        """Return the length of the header; most are short, and to make them takes 30 us each."""
        is_short = self.name.isascii() and len(self.name) <= tarfile.LENGTH_NAME and self.size < MAX_SHORT_SIZE
        return BLOCK if is_short else len(self.header)

    @property
    def length(self) -> int:
        return self.header_length + -(-self.size // BLOCK) * BLOCK


class Tar:
    """A tar to read, like an open file. The members are the files of the folder, sorted by name, in a folder `root`.

    Raises FileNotFoundError if there is no folder. read() raises Changed if a file was deleted or shortened meanwhile.
    """

    def __init__(self, folder: Path, root: str):
        self.name = f"{root}.tar"
        self._members = [Member(path, f"{root}/{name}", size) for name, path, size in _files(folder)]
        self._starts = [0, *accumulate(member.length for member in self._members)]
        self.size = -(-(self._starts[-1] + 2 * BLOCK) // RECORD) * RECORD  # two empty blocks end a tar
        self._position = 0
        self._open: tuple[int, BinaryIO] | None = None

    @property
    def digest(self) -> str:
        """Return a hash of all names and sizes."""
        digest = hashlib.sha256()
        for member in self._members:
            digest.update(f"{member.name}\0{member.size}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def seek(self, position: int) -> None:
        self._position = position

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes, or those that are left."""
        parts, left = [], min(count, self.size - self._position)
        while left > 0:
            part = self._part(left)
            parts.append(part)
            self._position += len(part)
            left -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        if self._open:
            self._open[1].close()
            self._open = None

    def _part(self, most: int) -> bytes:
        """Return bytes from the position on, at least one and at most `most`, all of the same file, header or rest."""
        number = bisect_right(self._starts, self._position) - 1
        if number == len(self._members):
            return bytes(most)
        member, within = self._members[number], self._position - self._starts[number]
        if within < member.header_length:
            return member.header[within : within + most]
        at = within - member.header_length
        if at >= member.size:
            return bytes(min(most, member.length - within))
        return self._content(number, at, min(most, member.size - at))

    def _content(self, number: int, at: int, most: int) -> bytes:
        file = self._file(number)
        file.seek(at)
        content = file.read(most)
        if not content:
            raise Changed(f"{self._members[number].path} ends {self._members[number].size - at} bytes early")
        return content

    def _file(self, number: int) -> BinaryIO:
        if self._open is None or self._open[0] != number:
            self.close()
            try:
                self._open = number, open(self._members[number].path, "rb")  # noqa: SIM115 - open between two reads; close() closes it
            except FileNotFoundError as error:
                raise Changed(f"{error.filename} was deleted") from None
        return self._open[1]


def _files(folder: Path) -> Iterator[tuple[str, str, int]]:
    """Yield the name, the path and the size of each file, sorted by name; paths are texts, as there may be 30,000."""
    found = [os.path.join(place, name) for place, _, names in os.walk(folder, onerror=_raise) for name in names]
    for path in sorted(found):
        yield path[len(str(folder)) + 1 :], path, os.stat(path).st_size


def _raise(error: OSError) -> None:
    raise error
