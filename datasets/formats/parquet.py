"""Write the frames of many sessions into one Parquet file, as they were recorded: a row a frame, a column a number."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.formats.kinds import as_numbers, has_texts
from datasets.options import Options
from datasets.types import Camera, Recording, Refused, SessionEntry
from teleop.frames.columns import MAX_COLUMNS

FILE_NAME = "frames.parquet"
HEAD = {"session_id": pa.int64(), "frame_index": pa.int64(), "timestamp": pa.float64()}
CLASH_PREFIX = "frame."  # of a value in a frame that has the name of one of these columns
GROUP_FRAMES, GROUP_CELLS = 2**16, 2**21  # of a row group, as a session's own download has them
SESSIONS_METADATA = b"sessions"  # a key of the file's metadata: the labels as JSON
LABELS = (
    "session_id",
    "key",
    "robot",
    "robot_type",
    "fps",
    "start_time",
    "task",
    "success",
    "tags",
    "operator",
    "note",
)


class ParquetWriter:
    """Write all sessions to `frames.parquet`, whose columns are those of all sessions together.

    A file has one schema, which is known after the last session. So each session first goes to a file of Arrow, and
    `finish` copies these files, row group by row group: reading all frames of the database twice takes longer.
    """

    def __init__(self, folder: Path, options: Options):
        self._path, self._parts = folder / FILE_NAME, folder / f"{FILE_NAME}.parts"
        self._parts.mkdir()
        self._types: dict[str, pa.DataType] = {}
        self._origins: dict[str, int] = {}
        self._entries: list[SessionEntry] = []

    def __enter__(self) -> "ParquetWriter":
        return self

    def __exit__(self, failure: type | None, *exception) -> None:
        if failure is None:
            self.finish()
        shutil.rmtree(self._parts)

    def add_session(self, entry: SessionEntry, recording: Recording, cameras: Sequence[Camera] = ()) -> None:
        """Write the frames in the order of frame_index; raises Refused if a column has texts here and numbers there."""
        schema = pa.schema(HEAD | dict(_column_types(recording)))
        self._merge(schema, entry.session_id)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(self._part(len(self._entries)), schema, options=options) as file:
            for batch in _batches(recording, schema):
                file.write_batch(batch)
        self._entries.append(entry)

    def finish(self) -> None:
        labels = json.dumps([labels_of(entry) for entry in self._entries], ensure_ascii=False)
        schema = pa.schema(HEAD | self._types, {SESSIONS_METADATA: labels})
        # Angles seldom repeat: a dictionary of them costs time and saves nothing.
        with pq.ParquetWriter(self._path, schema, use_dictionary=["session_id"], compression="zstd") as file:
            groups = RowGroups(file, schema)
            for number in range(len(self._entries)):
                for table in _tables(self._part(number), schema):
                    groups.add(table)
            groups.finish()

    def _part(self, number: int) -> Path:
        return self._parts / f"{number}.arrow"

    def _merge(self, schema: pa.Schema, session_id: int) -> None:
        for name, kind in zip(schema.names, schema.types, strict=True):
            if name in HEAD:
                continue
            known = self._types.setdefault(name, kind)
            origin = self._origins.setdefault(name, session_id)
            if known != kind:
                raise Refused(
                    f"{name} has {_word(known)} in session {origin} and {_word(kind)} in session {session_id}; "
                    "export these sessions apart"
                )
        if len(self._types) > MAX_COLUMNS:
            raise Refused(
                f"the sessions up to session {session_id} have {len(self._types)} values with different names; "
                f"at most {MAX_COLUMNS} expected"
            )


def labels_of(entry: SessionEntry) -> dict[str, Any]:
    labels = {name: getattr(entry, name) for name in LABELS}
    return labels | {"split": "validation" if entry.is_validation else "train"}


def _word(kind: pa.DataType) -> str:
    return "texts" if kind == pa.string() else "numbers"


def _column_types(recording: Recording) -> Iterator[tuple[str, pa.DataType]]:
    """Yield the columns; true and false are 1 and 0, as in a session's own download."""
    for name, values in recording.columns.items():
        yield _name_of(name), pa.string() if has_texts(values) else pa.float64()


def _name_of(column: str) -> str:
    return f"{CLASH_PREFIX}{column}" if column in HEAD else column


def _batches(recording: Recording, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    order = np.argsort(recording.indexes, kind="stable")
    size = _group_size(schema)
    for begin in range(0, len(order), size):
        yield _batch(recording, schema, order[begin : begin + size])


def _batch(recording: Recording, schema: pa.Schema, chosen: np.ndarray) -> pa.RecordBatch:
    head = (np.full(len(chosen), recording.session_id), recording.indexes[chosen], recording.times_us[chosen] / 1e6)
    arrays = [*map(pa.array, head)]
    for values, kind in zip(recording.columns.values(), schema.types[len(HEAD) :], strict=True):
        arrays.append(_array(values[chosen], kind))
    return pa.record_batch(arrays, schema=schema)


def _array(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Return the values, null where a frame has none."""
    return pa.array(values if kind == pa.string() else as_numbers(values), kind, from_pandas=True)


class RowGroups:
    """The row groups of the file: a group has the rows of several sessions if they are short."""

    def __init__(self, file: pq.ParquetWriter, schema: pa.Schema):
        self._file, self._size = file, _group_size(schema)
        self._waiting: list[pa.Table] = [schema.empty_table()]
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._rows += table.num_rows
        while self._rows >= self._size:
            waiting = pa.concat_tables(self._waiting)
            self._write(waiting.slice(0, self._size))
            self._waiting = [waiting.slice(self._size)]
            self._rows -= self._size

    def finish(self) -> None:
        self._write(pa.concat_tables(self._waiting))

    def _write(self, rows: pa.Table) -> None:
        if rows.num_rows:
            self._file.write_table(rows, row_group_size=rows.num_rows)


def _group_size(schema: pa.Schema) -> int:
    return max(1, min(GROUP_FRAMES, GROUP_CELLS // len(schema)))


def _tables(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the batches of a session with the columns of all sessions, null where the session has none."""
    with pa.ipc.open_file(pa.memory_map(str(path))) as file:
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            arrays = {name: pa.nulls(batch.num_rows, kind) for name, kind in _missing(schema, batch.schema)}
            arrays |= dict(zip(batch.schema.names, batch.columns, strict=True))
            yield pa.table([arrays[name] for name in schema.names], schema=schema)


def _missing(schema: pa.Schema, known: pa.Schema) -> Iterator[tuple[str, pa.DataType]]:
    names = set(known.names)
    return ((field.name, field.type) for field in schema if field.name not in names)
