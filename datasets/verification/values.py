"""Compare the rows of an episode with the frames that they come from, bit for bit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from datasets.options import Options
from datasets.verification.database import Frames
from datasets.verification.findings import Findings, shown
from datasets.verification.layout import CAPTURE_TIME, INDEXES, Expected
from datasets.verification.rules import SECOND_US, Rows
from datasets.verification.statistics import ColumnStatistics

ARROW = {
    "float32": pa.float32(),
    "float64": pa.float64(),
    "int64": pa.int64(),
    "bool": pa.bool_(),
    "string": pa.string(),
}
BITS = {4: np.uint32, 8: np.uint64}
# Rounding of an interpolated value: other orders of the same operations differ by less, in units of the last place.
ROUNDING = 4 * np.finfo(np.float64).eps


class EpisodePlace(NamedTuple):
    """Where an episode is in the dataset; `name` is the file of its rows."""

    name: str
    episode: int
    session_id: int
    first_index: int
    task_index: int
    fps: int

    def at(self, row: int) -> str:
        return f"{self.name}: episode {self.episode} (session {self.session_id}), row {row}"


class Source(NamedTuple):
    """The frames of a session, the rows expected of them, and what the options say."""

    frames: Frames
    rows: Rows
    options: Options


def expected_types(features: Sequence[Expected]) -> dict[str, pa.DataType]:
    """Return the columns of a data file. A shape of [1] is a plain column."""
    types = {each.key: _arrow_type(each) for each in features}
    return types | {key: ARROW[dtype] for key, dtype in INDEXES.items()}


def _arrow_type(feature: Expected) -> pa.DataType:
    value = ARROW[feature.dtype]
    return pa.list_(value, len(feature.names)) if feature.names and len(feature.names) > 1 else value


def is_interpolated(feature: Expected, number: int, options: Options) -> bool:
    """Check a column of a vector against the options' patterns, which may name it with or without its part."""
    if feature.names is None or feature.dtype != "float32":
        return False
    names = (feature.names[number], feature.columns[number])
    return any(fnmatchcase(name, pattern) for name in names for pattern in options.interpolate)


def compare_rows(
    batches: Iterator[pa.RecordBatch],
    source: Source,
    features: Sequence[Expected],
    place: EpisodePlace,
    statistics: Mapping[str, ColumnStatistics],
    findings: Findings,
) -> int:
    """Compare all rows of an episode, and add them to the statistics; return how many values were compared."""
    row = values = 0
    checks = [*(_Vector(each, source) for each in features if each.names), *_plain(features, source), *_indexes(place)]
    for batch in batches:
        part = slice(row, row + len(batch))
        for check in checks:
            found, expected = _array(batch, check.key, check.width), check.expected(part)
            values += found.size
            _compare(found, expected, check, part, place, findings)
            if check.key in statistics:
                statistics[check.key].add(check.for_statistics(found, part))
        row = part.stop
    if row != len(source.rows.times_us):
        findings.add(
            f"{place.name}: episode {place.episode} (session {place.session_id}) has {row} rows; "
            f"{len(source.rows.times_us)} expected"
        )
    return values


class _Check(NamedTuple):
    """A column and its expected values for a slice of rows: float64, int64 and objects as [rows, 1]."""

    key: str
    width: int
    names: Sequence[str]
    expected: Callable[[slice], Any]
    exact: Callable[[slice], np.ndarray] | None = None  # for statistics: before rounding to float32

    def for_statistics(self, found: np.ndarray, part: slice) -> np.ndarray:
        return self.exact(part)[:, None] if self.exact else found


class Range(NamedTuple):
    """Bounds of float32 values that may each be rounded either way."""

    low: np.ndarray
    high: np.ndarray


class _Vector:
    """Expected values of a vector, float32 [rows, names], or a Range where a column is interpolated."""

    def __init__(self, feature: Expected, source: Source):
        self.key, self.names, self.width = feature.key, feature.names or (), len(feature.columns)
        self._feature, self._source = feature, source

    def expected(self, part: slice) -> Range | np.ndarray:
        frames, rows, options = self._source
        low = np.empty((len(rows.times_us[part]), self.width), np.float32)
        high = None
        for number, column in enumerate(self._feature.columns):
            positions = rows.shown.get(column, rows.shown[""])[part]
            low[:, number] = frames.columns[column][positions]
            if is_interpolated(self._feature, number, options):
                high = low.copy() if high is None else high
                high[:, number] = low[:, number]
                self._interpolate(column, part, low[:, number], high[:, number])
            elif high is not None:
                high[:, number] = low[:, number]
        return low if high is None else Range(low, high)

    def _interpolate(self, column: str, part: slice, low: np.ndarray, high: np.ndarray) -> None:
        """Replace values by the bounds of those on the line between the samples before and after each row."""
        frames, rows, _ = self._source
        stream, stretch = rows.stretch_of(column)
        times_us = stream.times_us[stretch.first : stretch.last + 1]
        before = np.searchsorted(times_us, rows.times_us[part], "right") - 1
        inner = np.flatnonzero((before >= 0) & (before + 1 < len(times_us)))
        at = stretch.first + before[inner]
        values = frames.columns[column] if stream.positions is None else frames.columns[column][stream.positions]
        a, b = values[at].astype(np.longdouble), values[at + 1].astype(np.longdouble)
        passed = rows.times_us[part][inner] - stream.times_us[at]
        lasts = stream.times_us[at + 1] - stream.times_us[at]
        with np.errstate(invalid="ignore"):
            line = np.where(passed == 0, a, (a * (lasts - passed) + b * passed) / lasts)
            margin = np.where(passed == 0, 0, ROUNDING * np.maximum(abs(a), abs(b)))
            low[inner], high[inner] = (line - margin).astype(np.float64), (line + margin).astype(np.float64)

    def for_statistics(self, found: np.ndarray, part: slice) -> np.ndarray:
        return found


def _plain(features: Sequence[Expected], source: Source) -> Iterator[_Check]:
    frames, rows, _ = source
    for feature in features:
        if feature.names:
            continue
        if feature.key == CAPTURE_TIME:
            yield _Check(feature.key, 1, (), lambda part: frames.times_us[rows.shown[""][part]] / SECOND_US)
        else:
            column = feature.columns[0]
            positions = rows.shown.get(column, rows.shown[""])
            yield _Check(feature.key, 1, (), lambda part, column=column, at=positions: frames.columns[column][at[part]])


def _indexes(place: EpisodePlace) -> Iterator[_Check]:
    def numbers(part: slice) -> np.ndarray:
        return np.arange(part.start, part.stop, dtype=np.int64)

    yield _Check(
        "timestamp",
        1,
        (),
        lambda part: (numbers(part) / place.fps).astype(np.float32),
        lambda part: numbers(part) / place.fps,
    )
    yield _Check("frame_index", 1, (), numbers)
    yield _Check("index", 1, (), lambda part: numbers(part) + place.first_index)
    yield _Check("episode_index", 1, (), lambda part: np.full(part.stop - part.start, place.episode, np.int64))
    yield _Check("task_index", 1, (), lambda part: np.full(part.stop - part.start, place.task_index, np.int64))


def _array(batch: pa.RecordBatch, key: str, width: int) -> np.ndarray:
    """Return a column as [rows, width]; a null becomes NaN or None."""
    column = batch.column(key)
    if pa.types.is_fixed_size_list(column.type):
        column = column.flatten()
    values = column.to_numpy(zero_copy_only=False)
    return values.reshape(len(batch), width)


def _compare(
    found: np.ndarray, expected: Any, check: Any, part: slice, place: EpisodePlace, findings: Findings
) -> None:
    if isinstance(expected, Range):
        is_wrong = ~((_bits(found) == _bits(expected.low)) | (_bits(found) == _bits(expected.high)))
        expected = expected.low
    else:
        expected = expected.reshape(found.shape)
        is_wrong = _bits(found) != _bits(expected)
    if not is_wrong.any():
        return
    for column in np.flatnonzero(is_wrong.any(axis=0)):
        wrong = np.flatnonzero(is_wrong[:, column])
        name = f"{check.key}{f' {check.names[column]}' if check.names else ''}"
        more = f", and {len(wrong) - 1} more rows differ" if len(wrong) > 1 else ""
        findings.add(
            f"{place.at(part.start + int(wrong[0]))}: {name} is {shown(found[wrong[0], column])}; "
            f"{shown(expected[wrong[0], column])} expected{more}"
        )


def _bits(values: np.ndarray) -> np.ndarray:
    """Return what differs if anything differs: 0.0 from -0.0 too."""
    return values.view(BITS[values.itemsize]) if values.dtype.kind == "f" else values
