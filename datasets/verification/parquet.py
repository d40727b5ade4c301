"""Verify a Parquet export: every value of every frame is compared with the database, bit for bit as float64."""

import json
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.verification.database import blocks
from datasets.verification.findings import Findings, Verified
from datasets.verification.flat import flat

NAME = "frames.parquet"
HEAD = ["session_id", "frame_index", "timestamp"]
MAX_GROUP_ROWS = 65_536
LABELS = ["key", "robot", "robot_type", "fps", "start_time", "task", "success", "operator", "note"]


def verify(folder: Path, manifest, report: Callable[[float], None] = lambda progress: None) -> Verified:
    """Compare the file with the frames of all sessions, in their order; raises VerificationFailed."""
    findings = Findings()
    names = sorted(path.name for path in folder.iterdir())
    if not findings.compare(f"the list of files in {folder.name}", names, [NAME]):
        findings.conclude()
    with pq.ParquetFile(folder / NAME) as file:
        _check_schema(file, manifest, findings)
        findings.conclude()
        values = _compare_rows(file, manifest, findings, report)
    findings.conclude()
    return Verified(file.metadata.num_rows, values, 0, 1)


def _check_schema(file: pq.ParquetFile, manifest, findings: Findings) -> None:
    schema = file.schema_arrow
    findings.compare("the first columns", schema.names[:3], HEAD)
    findings.compare("the number of columns with a name of their own", len(set(schema.names)), len(schema.names))
    head = [str(kind) for kind in schema.types[:3]]
    findings.compare("the types of the first columns", head, ["int64", "int64", "double"])
    for name, kind in zip(schema.names[3:], schema.types[3:], strict=True):
        if kind not in (pa.float64(), pa.string()):
            findings.add(f"column {name} is {kind}; double or string expected")
    groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    if max(groups, default=0) > MAX_GROUP_ROWS:
        findings.add(f"a row group has {max(groups)} rows; at most {MAX_GROUP_ROWS} expected")
    findings.compare("the number of rows", file.metadata.num_rows, sum(each.frame_count for each in manifest.sessions))
    _check_labels(json.loads((schema.metadata or {}).get(b"sessions", b"[]")), manifest, findings)


def _check_labels(found: list[dict[str, Any]], manifest, findings: Findings) -> None:
    """Compare the labels in the file's metadata with those of the manifest."""
    findings.compare("the number of sessions in the metadata", len(found), len(manifest.sessions))
    for labels, entry in zip(found, manifest.sessions, strict=False):
        for name, value in _labels_of(entry).items():
            findings.compare(f"session {entry.session_id}: {name} in the metadata", labels.get(name), value)


def _labels_of(entry) -> dict[str, Any]:
    return {
        "session_id": entry.session_id,
        "tags": list(entry.tags),
        "split": "validation" if entry.is_validation else "train",
    } | {name: getattr(entry, name) for name in LABELS}


def _compare_rows(file: pq.ParquetFile, manifest, findings: Findings, report: Callable[[float], None]) -> int:
    """Compare all rows, a block of frames at a time; return the number of compared values."""
    rows = Rows(file)
    values = done = 0
    for entry in manifest.sessions:
        count = 0
        for block in blocks(entry.session_id):
            count += len(block)
            values += _compare_block(entry.session_id, block, rows.take(len(block)), findings)
            done += len(block)
            report(min(1.0, done / max(1, file.metadata.num_rows)))
        findings.compare(
            f"the number of frames of session {entry.session_id} in the database", count, entry.frame_count
        )
    findings.compare("the number of rows after those of the last session", sum(map(len, rows.rest())), 0)
    _check_empty_columns(rows.used, findings)
    return values


class Rows:
    """The rows of the file in pieces of any size; `used` counts the values of each column."""

    def __init__(self, file: pq.ParquetFile):
        self._batches = file.iter_batches(batch_size=4096)
        self._table = file.schema_arrow.empty_table()
        self.used = dict.fromkeys(file.schema_arrow.names, 0)

    def take(self, count: int) -> pa.Table:
        """Return the next `count` rows, or fewer at the end of the file."""
        while len(self._table) < count and (batch := next(self._batches, None)) is not None:
            self._table = pa.concat_tables([self._table, pa.Table.from_batches([batch])])
        taken, self._table = self._table.slice(0, count), self._table.slice(count)
        for name in taken.column_names:
            self.used[name] += len(taken) - taken[name].null_count
        return taken

    def rest(self) -> Iterator[pa.Table]:
        return chain([self._table], (pa.Table.from_batches([batch]) for batch in self._batches))


def _compare_block(session_id: int, block: list[list[Any]], found: pa.Table, findings: Findings) -> int:
    where = f"session {session_id}, frames {block[0][0]} to {block[-1][0]}"
    if not findings.compare(f"{where}: the number of rows", len(found), len(block)):
        findings.conclude()
    indexes = [index for index, _, _ in block]
    frames = [_renamed(flat(data)) for _, _, data in block]
    expected = {
        "session_id": [session_id] * len(block),
        "frame_index": indexes,
        "timestamp": [time_us / 1_000_000 for _, time_us, _ in block],
    }
    for name in found.column_names:
        wanted = expected[name] if name in expected else [frame.get(name) for frame in frames]
        _compare_column(f"session {session_id}: {name}", found[name], wanted, indexes, findings)
    known = set(found.column_names)
    for index, frame in zip(indexes, frames, strict=True):
        if not frame.keys() <= known:
            findings.add(f"session {session_id}: frame {index} has {sorted(frame.keys() - known)}, the file has not")
    return sum(len(column) - column.null_count for column in found.columns)


def _renamed(frame: dict[str, Any]) -> dict[str, Any]:
    """Rename the values that have the name of one of the first columns."""
    if frame.keys().isdisjoint(HEAD):
        return frame
    return {f"frame.{name}" if name in HEAD else name: value for name, value in frame.items()}


def _compare_column(where: str, found: pa.ChunkedArray, wanted: list, indexes: list[int], findings: Findings) -> None:
    """Add a finding for the first row that differs: a value, or a null where a value is expected."""
    if pa.types.is_floating(found.type):
        is_same = _are_same_numbers(found, wanted)
    else:
        is_same = np.array([one == other for one, other in zip(found.to_pylist(), wanted, strict=True)], bool)
    if not is_same.all():
        at = int(np.argmin(is_same))
        findings.add(f"{where} of frame {indexes[at]} is {found[at].as_py()!r:.200}; {wanted[at]!r:.200} expected")


def _are_same_numbers(found: pa.ChunkedArray, wanted: list) -> np.ndarray:
    """Compare bits, as -0.0 equals 0.0; a null in the file is None in the list."""
    is_text = np.zeros(len(wanted), bool)
    if str in set(map(type, wanted)):
        is_text[:] = [type(value) is str for value in wanted]
        wanted = [None if type(value) is str else value for value in wanted]
    numbers = np.array(wanted, float)  # None becomes NaN, which JSON has not
    is_null = found.is_null().to_numpy()
    is_equal = found.to_numpy().view(np.uint64) == numbers.view(np.uint64)
    return ~is_text & np.where(np.isnan(numbers), is_null, is_equal & ~is_null)


def _check_empty_columns(used: dict[str, int], findings: Findings) -> None:
    for name, count in used.items():
        if not count:
            findings.add(f"column {name} has no value in any row; no such column expected")
