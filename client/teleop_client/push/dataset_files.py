"""Open the files of a dataset: regular files below its folder, of bounded sizes. Nothing in it can lead elsewhere."""

import json
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from .dataset_types import DatasetUnfinished, DatasetUnusable

MAX_JSON_BYTES = 16 << 20
MAX_LINE_BYTES = 1 << 20
MAX_FOOTER_BYTES = 64 << 20
MAGIC, TAIL_BYTES = b"PAR1", 8  # a file ends with the length of its footer and the magic bytes
BUFFER_BYTES = 1 << 20  # read at a time of each column
_PLACEHOLDER = re.compile(r"\{(\w+)(?::0(\d)d)?\}")


def safe_path(root: Path, relative: str) -> Path:
    """Return the path of a file of the dataset, which may be missing; raise DatasetUnusable if it leads elsewhere."""
    parts = relative.split("/")
    if not {"", ".", ".."}.isdisjoint(parts) or "\\" in relative or PureWindowsPath(relative).drive:
        raise DatasetUnusable(
            f"{relative!r} is no path below the dataset's folder; it must not have '..' or begin at /"
        )
    if not relative.isprintable():
        raise DatasetUnusable(f"{relative!r} has characters that no path of a dataset has")
    path = root
    for part in parts:
        path /= part
        if path.is_symlink():
            raise DatasetUnusable(
                f"{path.relative_to(root)} is a link; links are not followed. Copy the dataset with its files "
                f"(a cache of Hugging Face consists of links): cp -rL {root} COPY"
            )
    return path


def fill(field: str, template: Any, **values: str | int) -> str:
    """Return the path that a template of info.json gives: `{chunk_index:03d}`, and nothing else of str.format."""
    if not isinstance(template, str) or re.search(r"[{}]", _PLACEHOLDER.sub("", template)):
        raise DatasetUnusable(f"meta/info.json: {field} is {template!r}; a path with {_names(values)} expected")

    def value_of(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if value is None or (match[2] and not isinstance(value, int)):
            raise DatasetUnusable(f"meta/info.json: {field} has {match[0]}; only {_names(values)} are known")
        return f"{value:0{match[2]}d}" if match[2] else str(value)

    return _PLACEHOLDER.sub(value_of, template)


def check_regular(path: Path, relative: str) -> int:
    """Return the size of a file; raise DatasetUnfinished if it is missing, DatasetUnusable if it is no regular file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise DatasetUnfinished(f"{relative} is missing") from None
    except OSError as error:
        raise DatasetUnusable(f"{relative} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise DatasetUnusable(f"{relative} is no regular file")
    return status.st_size


def read_json(root: Path, relative: str) -> dict[str, Any]:
    """Return the object of a JSON file."""
    path = safe_path(root, relative)
    size = check_regular(path, relative)
    if size > MAX_JSON_BYTES:
        raise DatasetUnusable(f"{relative} is {size} bytes; at most {MAX_JSON_BYTES} expected")
    with _open(path, relative) as file:
        return _parse(file.read(MAX_JSON_BYTES), relative)


def read_json_lines(root: Path, relative: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file with one JSON object a line; only one line is in memory."""
    path = safe_path(root, relative)
    check_regular(path, relative)
    with _open(path, relative) as file:
        for number in range(1, 1 << 62):
            line = file.readline(MAX_LINE_BYTES + 1)
            if not line:
                return
            if len(line) > MAX_LINE_BYTES:
                raise DatasetUnusable(f"{relative}: line {number} is over {MAX_LINE_BYTES} bytes")
            if line.strip():
                yield _parse(line, f"{relative}: line {number}")


def open_parquet(root: Path, path: Path, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """Open a Parquet file of the dataset, after its footer was checked; use it as a context manager.

    With the `metadata` of an earlier call the footer is not read again.
    """
    relative = path.relative_to(root).as_posix()
    check_footer(root, path)
    try:
        return pq.ParquetFile(path, metadata=metadata, buffer_size=BUFFER_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DatasetUnusable(f"{relative} has an unreadable footer: {_first_line(error)}") from None


def batches(
    file: pq.ParquetFile, name: str, rows: int, groups: list[int], columns: list[str]
) -> Iterator[pa.RecordBatch]:
    """Yield the row groups' rows in batches of at most `rows`; `name` names the file in errors."""
    try:
        yield from file.iter_batches(rows, row_groups=groups, columns=columns, use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DatasetUnusable(f"{name} has unreadable rows: {_first_line(error)}") from None


def check_footer(root: Path, path: Path) -> None:
    """Raise if the file has no footer, or one whose length cannot be true: pyarrow would allocate it."""
    relative = path.relative_to(root).as_posix()
    size = check_regular(path, relative)
    with _open(path, relative) as file:
        head = file.read(len(MAGIC))
        file.seek(max(size - TAIL_BYTES, 0))
        tail = file.read(TAIL_BYTES)
    if head != MAGIC or tail[4:] != MAGIC or size < len(MAGIC) + TAIL_BYTES:
        raise DatasetUnfinished(f"{relative} has no Parquet footer, which LeRobot's recorder writes at its end")
    length, most = int.from_bytes(tail[:4], "little"), min(size - len(MAGIC) - TAIL_BYTES, MAX_FOOTER_BYTES)
    if length > most:
        raise DatasetUnusable(f"{relative} claims a footer of {length} bytes; at most {most} expected")


def _open(path: Path, relative: str) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise DatasetUnusable(f"{relative} cannot be read: {error.strerror}") from None


def _parse(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:  # LeRobot's recorder writes its files in place
        raise DatasetUnfinished(f"{name} is no JSON: {_first_line(error)}") from None
    if not isinstance(value, dict):
        raise DatasetUnusable(f"{name} is {type(value).__name__}; an object expected")
    return value


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _names(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{{{name}}}" for name in values)
