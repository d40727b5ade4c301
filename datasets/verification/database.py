"""Read a session's frames by SQL of this package's own, as columns, sorted by time."""

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import orjson
from django.db import connection

BLOCK_FRAMES = 4096
FIRST_FRAMES = 256
BLOCK_BYTES = 2 * 2**20  # aimed at; a frame may have 64 KiB

# The database joins a block to one text: fetching each row takes 1.3 us more a frame.
JOINED = {"postgresql": "string_agg({}, ',')", "sqlite": "group_concat({}, ',')"}
DATA = {"postgresql": "data::text", "sqlite": "data"}
MICROSECONDS = {
    "postgresql": "CAST(extract(epoch FROM timestamp) * 1000000 AS bigint)",
    "sqlite": "strftime('%%s', substr(timestamp, 1, 19)) || substr(substr(timestamp, 21) || '000000', 1, 6)",
}
NUMBERS = {int, float, bool, type(None)}
Path = tuple[Any, ...]  # the keys and positions from a frame to one of its values


class OtherKind(Exception):
    """A column of numbers has another value."""


class Frames(NamedTuple):
    """The frames of a session, sorted by time; those of equal times by index.

    A column is of the type that it was asked for: a float with NaN where a frame has no number, or object with None.
    """

    indexes: np.ndarray
    times_us: np.ndarray
    columns: dict[str, np.ndarray]


def read_frames(session_id: int, frame_count: int, types: Mapping[str, type]) -> tuple[Frames, int]:
    """Return the first `frame_count` frames with these columns, and how many frames there are.

    The type of a column is np.float32 (rounded once from float64), np.float64 or object. Raises OtherKind.
    """
    frames = Frames(
        np.empty(frame_count, np.int64),
        np.empty(frame_count, np.int64),
        {name: np.full(frame_count, None if kind is object else np.nan, kind) for name, kind in types.items()},
    )
    count = 0
    with _no_garbage_collection():
        for rows in blocks(session_id):
            _fill(frames, count, rows[: max(0, frame_count - count)])
            count += len(rows)
    return _sorted(frames, min(count, frame_count)), count


def blocks(session_id: int, limit: int = FIRST_FRAMES, after: int = -1) -> Iterator[list[Any]]:
    """Yield all frames as [frame_index, microseconds, data], in the order of their indexes; a query a block."""
    while text := _read(session_id, after, limit):
        rows = orjson.loads(text)
        rows.sort(key=itemgetter(0))  # SQL promises no order within an aggregate
        after, limit = rows[-1][0], max(1, min(BLOCK_FRAMES, BLOCK_BYTES * len(rows) // len(text)))
        yield rows


def sample(session_id: int, count: int) -> list[Any]:
    """Return the first and the last `count` indexes of a session, as `blocks` does; none twice."""
    head = next(blocks(session_id, count), [])
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(frame_index) FROM teleop_teleopframe WHERE session_id = %s", [session_id])
        last = cursor.fetchone()[0]
    return head if not head else head + next(blocks(session_id, count, max(head[-1][0], last - count)), [])


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the path and the value of all that is neither an object nor a list."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, (*path, key))
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from leaves(part, (*path, position))
    else:
        yield path, value


def name_of(path: Path) -> str:
    return ".".join(map(str, path))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Each block is 12,000 objects without cycles, which the collector would visit: 3 of 7 us a frame."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read(session_id: int, after: int, limit: int) -> str:
    vendor = connection.vendor
    row = f"'[' || frame_index || ',' || {MICROSECONDS[vendor]} || ',' || {DATA[vendor]} || ']'"
    source = (
        "SELECT frame_index, timestamp, data FROM teleop_teleopframe "
        "WHERE session_id = %s AND frame_index > %s ORDER BY frame_index LIMIT %s"
    )
    with connection.cursor() as cursor:
        query = f"SELECT '[' || {JOINED[vendor].format(row)} || ']' FROM ({source}) AS block"  # nosec B608 # constants
        cursor.execute(query, [session_id, after, limit])
        return cursor.fetchone()[0]


def _fill(frames: Frames, begin: int, rows: Sequence[Any]) -> None:
    if not rows:
        return
    indexes, times, data = zip(*rows, strict=True)
    frames.indexes[begin : begin + len(rows)] = indexes
    frames.times_us[begin : begin + len(rows)] = times
    try:
        _fill_alike(frames.columns, slice(begin, begin + len(rows)), data, set(frames.columns))
    except (KeyError, IndexError, TypeError):  # frames of different shapes
        for positions in _groups(data).values():
            places = np.array(positions) + begin
            _fill_alike(frames.columns, places, [data[each] for each in positions], set())


def _groups(data: Sequence[Any]) -> dict[Path, list[int]]:
    """Return the positions of the frames of each shape."""
    groups = defaultdict(list)
    for position, frame in enumerate(data):
        groups[tuple(path for path, _ in leaves(frame))].append(position)
    return groups


def _fill_alike(columns: dict[str, np.ndarray], places: Any, data: Sequence[Any], required: set[str]) -> None:
    """Fill columns from frames that all have the shape of the first; raises KeyError, IndexError, TypeError if not."""
    wanted: dict[Path, dict[str, Any]] = defaultdict(dict)
    for path, _ in leaves(data[0]):
        if (name := name_of(path)) in columns:
            wanted[path[:-1]].setdefault(name, path[-1])
    if required - {name for keys in wanted.values() for name in keys}:
        raise KeyError
    for parent, keys in wanted.items():
        containers: Sequence[Any] = data
        for key in parent:
            containers = list(map(itemgetter(key), containers))
        _fill_from(columns, places, containers, keys)


def _fill_from(columns: dict[str, np.ndarray], places: Any, containers: Sequence[Any], keys: dict[str, Any]) -> None:
    """Fill the columns of the values that the containers have by these keys."""
    numbers = [name for name in keys if columns[name].dtype != object]
    if numbers:
        table = list(map(_getter([keys[name] for name in numbers]), containers))
        if not set(map(type, chain.from_iterable(table))) <= NUMBERS:
            raise OtherKind(f"a frame has a text in place of a number in one of {', '.join(numbers)}")
        with np.errstate(over="ignore"):
            for name, values in zip(numbers, np.array(table, np.float64).T, strict=True):
                columns[name][places] = values
    for name in keys.keys() - numbers:
        columns[name][places] = list(map(itemgetter(keys[name]), containers))


def _getter(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    if len(keys) > 1:
        return itemgetter(*keys)
    (key,) = keys
    return lambda container: (container[key],)


def _sorted(frames: Frames, count: int) -> Frames:
    """Return the first `count` frames, sorted."""
    order = np.lexsort((frames.indexes[:count], frames.times_us[:count]))
    if (order == np.arange(count)).all():
        order = slice(0, count)
    columns = frames.columns
    for name in columns:  # one by one, so that only one column is there twice
        columns[name] = columns[name][order]
    return Frames(frames.indexes[order], frames.times_us[order], columns)
