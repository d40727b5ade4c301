"""Compare the rows of an episode with what its frames say, bit for bit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from datasets.verification.expected_values import Source, expected_column, expected_vector
from datasets.verification.findings import Findings, shown
from datasets.verification.layout import INDEXES, Expected
from datasets.verification.statistics import ColumnStatistics

ARROW = {
    "float32": pa.float32(),
    "float64": pa.float64(),
    "int64": pa.int64(),
    "bool": pa.bool_(),
    "string": pa.string(),
}
BITS = {4: np.uint32, 8: np.uint64}
Bounds = tuple[np.ndarray, np.ndarray]


class EpisodePlace(NamedTuple):
    """Where an episode is in the dataset; `name` is the file of its rows."""

    name: str
    episode: int
    session_id: int
    first_index: int
    task_index: int
    fps: int

    @property
    def title(self) -> str:
        return f"{self.name}: episode {self.episode} (session {self.session_id})"


class _Column(NamedTuple):
    """A column of a data file. `expected` returns the least and the greatest right values of a slice of rows."""

    key: str
    names: Sequence[str]
    expected: Callable[[slice], Bounds]
    exact: Callable[[slice], np.ndarray] | None = None  # what statistics are of, if it is not what the file has


def expected_types(features: Sequence[Expected]) -> dict[str, pa.DataType]:
    """Return the columns of a data file. A shape of [1] is a plain column."""
    types = {each.key: _arrow_type(each) for each in features}
    return types | {key: ARROW[dtype] for key, dtype in INDEXES.items()}


def _arrow_type(feature: Expected) -> pa.DataType:
    value = ARROW[feature.dtype]
    return pa.list_(value, len(feature.names)) if feature.names and len(feature.names) > 1 else value


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
    columns = [*(_feature(each, source) for each in features), *_indexes(place)]
    for batch in batches:
        part = slice(row, row + len(batch))
        for column in columns:
            found = _array(batch, column, place, row, findings)
            if found is None:
                continue
            values += found.size
            _compare(found, column.expected(part), column, f"{place.title}, row ", row, findings)
            if column.key in statistics:
                statistics[column.key].add(column.exact(part)[:, None] if column.exact else found)
        row = part.stop
    if row != len(source.rows.times_us):
        findings.add(f"{place.title} has {row} rows; {len(source.rows.times_us)} expected")
    return values


def _feature(feature: Expected, source: Source) -> _Column:
    if feature.names:
        return _Column(feature.key, feature.names, partial(expected_vector, feature, source))
    return _Column(feature.key, (), lambda part: (expected_column(feature, source, part),) * 2)


def _indexes(place: EpisodePlace) -> Iterator[_Column]:
    def numbers(part: slice) -> np.ndarray:
        return np.arange(part.start, part.stop, dtype=np.int64)

    def constant(value: int, part: slice) -> np.ndarray:
        return np.full(part.stop - part.start, value, np.int64)

    plain = {
        "timestamp": lambda part: (numbers(part) / place.fps).astype(np.float32),
        "frame_index": numbers,
        "index": lambda part: numbers(part) + place.first_index,
        "episode_index": partial(constant, place.episode),
        "task_index": partial(constant, place.task_index),
    }
    for key, values in plain.items():
        # LeRobot computes the statistics of the timestamps before it rounds them.
        exact = (lambda part: numbers(part) / place.fps) if key == "timestamp" else None
        yield _Column(key, (), lambda part, values=values: (values(part),) * 2, exact)


def _array(
    batch: pa.RecordBatch, column: _Column, place: EpisodePlace, row: int, findings: Findings
) -> np.ndarray | None:
    """Return a column as [rows, width]; None and a finding if a value is missing."""
    values = batch.column(column.key)
    if values.null_count:
        first = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])
        findings.add(f"{place.title}, row {row + first}: {column.key} is null; a value expected")
        return None
    if pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    return values.to_numpy(zero_copy_only=False).reshape(len(batch), max(1, len(column.names)))


def _compare(found: np.ndarray, expected: Bounds, column: _Column, where: str, row: int, findings: Findings) -> None:
    low, high = (each.reshape(found.shape) for each in expected)
    is_wrong = _bits(found) != _bits(low)
    if expected[1] is not expected[0]:
        is_between = (low < found) & (found < high)
        is_wrong &= ~is_between & (_bits(found) != _bits(high))
    if not is_wrong.any():
        return
    for number in np.flatnonzero(is_wrong.any(axis=0)):
        wrong = np.flatnonzero(is_wrong[:, number])
        name = " ".join([column.key, *column.names[number : number + 1]])
        more = f", and {len(wrong) - 1} more rows differ" if len(wrong) > 1 else ""
        findings.add(
            f"{where}{row + int(wrong[0])}: {name} is {shown(found[wrong[0], number])}; "
            f"{shown(low[wrong[0], number])} expected{more}"
        )


def _bits(values: np.ndarray) -> np.ndarray:
    """Return what differs if anything differs: 0.0 from -0.0 too."""
    return values.view(BITS[values.itemsize]) if values.dtype.kind == "f" else values
