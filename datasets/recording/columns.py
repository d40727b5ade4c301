"""Collect the values of frames as columns, in 8 bytes a value: no Django.

A column is of numbers, of true and false, or of texts. Numbers beside true and false make it a column of numbers.
"""

from collections.abc import Sequence
from types import NoneType
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from datasets.types import Refused
from teleop.frames.columns import MAX_COLUMNS, pieces
from teleop.frames.columns import leaves as arrow_leaves
from teleop.frames.fields import HEAD

MAX_VALUES = 2**27  # 1 GiB of a session: a million frames of 134 columns
MAX_TEXT_BYTES = 2**26  # of different texts
MAX_PENDING = 2**16  # values that Python holds one by one, in 100 bytes each


class Columns:
    """The values of a session's frames in the order in which they are added; `session` names it in a refusal."""

    def __init__(self, session: str, frame_count: int):
        self.count = 0
        self.indexes = np.empty(frame_count, np.int64)
        self.times_us = np.empty(frame_count, np.int64)
        self._session, self._frame_count = session, frame_count
        self._kinds: dict[str, str] = {}
        self._columns: dict[str, np.ndarray] = {}
        self._texts: dict[str, dict[str, str]] = {}  # equal texts are one object
        self._text_bytes = 0
        self._first_names: list[str] = []

    def add(self, block: bytes) -> None:
        """Add the frames of a block of lines, as teleop.frames.sql reads them."""
        if not self.count:
            self._learn_order(block)
        for piece, frames in pieces(block):
            if frames is None:
                self.add_lines(piece)
            else:
                self._add_table(frames)

    def take(self) -> dict[str, np.ndarray]:
        """Return the columns: first those of the first frame in its order, then all others by name."""
        columns, self._columns = self._columns, {}
        names = dict.fromkeys([*(name for name in self._first_names if name in columns), *sorted(columns)])
        return {name: columns[name] for name in names}

    def _learn_order(self, block: bytes) -> None:
        _flatten(orjson.loads(block[: block.index(b"\n")]), "", self._first_names, [])

    def _add_table(self, frames: pa.Table) -> None:
        rows = self._rows(frames.num_rows)
        self.indexes[rows] = frames["frame_index"].to_numpy()
        self.times_us[rows] = _microseconds(frames["timestamp"].to_numpy())
        for top in frames.column_names:
            if top not in HEAD:
                for name, values in arrow_leaves(top, frames[top].chunk(0)):
                    self._add_arrow(name, values, rows)

    def _add_arrow(self, name: str, values: pa.Array, rows: slice) -> None:
        if values.null_count == len(values):
            return
        if pa.types.is_floating(values.type):
            self._put(name, "float", rows, values.to_numpy(zero_copy_only=False))
        elif pa.types.is_boolean(values.type):
            self._put(name, "bool", rows, np.array(values.to_pylist(), object))
        else:
            coded = values.dictionary_encode()
            texts = np.array(self._shared(name, [*coded.dictionary.to_pylist(), None]), object)
            self._put(name, "str", rows, texts[coded.indices.fill_null(len(texts) - 1).to_numpy()])

    def add_lines(self, piece: bytes) -> None:
        """Add frames that Python reads one by one, in 6 us each where Arrow takes 3.

        The values of frames that have equal names and follow each other are added at once.
        """
        if not self.count:
            self._learn_order(piece)
        names: list[str] = []
        pending: list[list[Any]] = []
        for line in piece.splitlines():
            frame = orjson.loads(line)
            row = self._rows(1).start
            self.indexes[row], self.times_us[row] = frame.pop("frame_index"), round(frame.pop("timestamp") * 1e6)
            found, values = [], []
            _flatten(frame, "", found, values)
            if found != names or len(pending) * len(names) > MAX_PENDING:
                self._add_pending(names, pending, row)
                names, pending = found, []
            pending.append(values)
        self._add_pending(names, pending, self.count)

    def _add_pending(self, names: list[str], pending: list[list[Any]], end: int) -> None:
        """Add the values of the frames before row `end`."""
        rows = slice(end - len(pending), end)
        for name, values in zip(names, zip(*pending, strict=True), strict=False):
            kinds = {*map(type, values)} - {NoneType}
            if kinds == {bool}:
                self._put(name, "bool", rows, np.array(values, object))
            elif kinds == {str}:
                self._put(name, "str", rows, np.array(self._shared(name, values), object))
            elif str in kinds:
                self._refuse_kinds(name, rows.start)
            elif kinds:
                self._put(name, "float", rows, np.array(values, float))  # None becomes NaN

    def _put(self, name: str, kind: str, rows: slice, values: np.ndarray) -> None:
        known = self._kinds.get(name)
        if known is None:
            self._check_size(len(self._columns) + 1)
            empty = np.nan if kind == "float" else None
            self._columns[name] = np.full(self._frame_count, empty, float if kind == "float" else object)
            self._kinds[name] = kind
        elif known != kind:
            if "str" in (known, kind):
                self._refuse_kinds(name, rows.start)
            if known == "bool":
                self._columns[name] = self._columns[name].astype(float)
                self._kinds[name] = "float"
            else:
                values = values.astype(float)
        self._columns[name][rows] = values

    def _rows(self, count: int) -> slice:
        rows = slice(self.count, self.count + count)
        if rows.stop > self._frame_count:
            raise Refused(
                f"{self._session} has more than the {self._frame_count} frames of the manifest; it was resumed"
            )
        self.count = rows.stop
        return rows

    def _shared(self, name: str, texts: Sequence[str | None]) -> list[str | None]:
        """Return the texts as objects that exist once."""
        known = self._texts.setdefault(name, {})
        self._text_bytes += sum(len(text) for text in {*texts} - known.keys() if text)
        if self._text_bytes > MAX_TEXT_BYTES:
            raise Refused(
                f"{self._session}: {name} has too many different texts, with others over {MAX_TEXT_BYTES} bytes"
            )
        return [None if text is None else known.setdefault(text, text) for text in texts]

    def _check_size(self, columns: int) -> None:
        if columns > MAX_COLUMNS:
            raise Refused(f"{self._session} has over {MAX_COLUMNS} names of values; at most that many expected")
        if columns * self._frame_count > MAX_VALUES:
            raise Refused(
                f"{self._session} has {columns} or more values in each of {self._frame_count} frames; "
                f"at most {MAX_VALUES} values in all expected"
            )

    def _refuse_kinds(self, name: str, row: int) -> None:
        raise Refused(
            f"{self._session}: {name} is a text in some frames and a number or true or false in others "
            f"(at or after frame {self.indexes[row]}); one kind expected"
        )


def _flatten(part: dict | list, prefix: str, names: list[str], values: list[Any]) -> None:
    """Append all values of a frame that are no object and no list, null too, and their names, dotted."""
    for key, value in part.items() if type(part) is dict else enumerate(part):
        if type(value) is dict or type(value) is list:
            _flatten(value, f"{prefix}{key}.", names, values)
        else:
            names.append(f"{prefix}{key}")
            values.append(value)


def _microseconds(seconds: Any) -> Any:
    return np.rint(np.multiply(seconds, 1e6)).astype(np.int64)
