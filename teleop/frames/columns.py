"""Convert frames to columns: bytes in, Arrow tables out; no Django, no I/O.

Arrow and NumPy take 50 MB in a process, so the first request that needs columns imports this module.

The memory for a block is bounded for any names in its frames. Arrow takes 4 KB for each name that it infers: 60 frames
with 4,501 names of their own took 1 GB. So Python reads some frames first, and passes their names to Arrow, which then
infers none.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from teleop.frames.fields import TooManyColumns, is_selected, numbers_of

HEAD = {"frame_index": pa.int64(), "timestamp": pa.float64()}
MAX_COLUMNS = 4096
MAX_CELLS = 2**20  # of a table: 8 MB of doubles
SAMPLED_FRAMES = 16
MIN_PIECE_FRAMES = 64  # if frames differ from each other, pieces of this size are read by Python
MAX_PYTHON_NUMBERS = 2**16  # each takes 100 bytes with its name


class NotUniform(Exception):
    """Arrow cannot read these frames: a name stands for a number in one and for a text in another."""


def session_tables(blocks: Iterable[bytes], fields: Iterable[str] = ()) -> Iterator[pa.Table]:
    """Yield the tables of all blocks; raises TooManyColumns once they have more than MAX_COLUMNS names together."""
    names: dict[str, None] = {}
    for block in blocks:
        for table in tables(block, fields):
            names |= dict.fromkeys(table.column_names)
            check_count(names)
            yield table


def tables(block: bytes, fields: Iterable[str] = ()) -> Iterator[pa.Table]:
    """Yield the frames of a block as columns of doubles, in their key order; null where a frame has no number.

    It is one table, unless frames have different names or very many. Raises TooManyColumns if the fields select more
    than MAX_COLUMNS numbers of a table.
    """
    for piece, frames in pieces(block, fields):
        if frames is None:
            yield from portable_tables(piece, fields)
        else:
            yield _columns_of(frames, fields)


def pieces(block: bytes, fields: Iterable[str] = ()) -> Iterator[tuple[bytes, pa.Table | None]]:
    """Yield the parts of a block, each with its frames as Arrow reads them; None if Python has to read them."""
    pending = [block]
    while pending:
        piece = pending.pop()
        rows = piece.count(b"\n")
        try:
            names = _sampled_names(piece)
            count = _count_columns(names, fields)
        except NotUniform:
            yield piece, None
            continue
        is_small = rows * count <= MAX_CELLS or rows == 1
        if is_small and (frames := _parsed(piece, names)):
            yield piece, frames
        elif not is_small or rows > MIN_PIECE_FRAMES:
            pending += reversed(_halves(piece))
        else:
            yield piece, None


def portable_tables(block: bytes, fields: Iterable[str] = ()) -> Iterator[pa.Table]:
    """Convert a block in Python, frame by frame: 15 us each with Python's lock held; Arrow takes 3 without the lock."""
    rows: list[dict[str, float]] = []
    names: dict[str, None] = {}
    numbers = 0
    for line in block.splitlines():
        row: dict[str, float] = {}
        for name, number in numbers_of(orjson.loads(line)):
            if name in HEAD or is_selected(name, fields):
                row.setdefault(name, number)
                check_count(row)
        if rows and (numbers > MAX_PYTHON_NUMBERS or len(rows) * len(names) > MAX_CELLS):
            yield _python_table(names, rows)
            rows, names, numbers = [], {}, 0
        rows.append(row)
        names |= dict.fromkeys(row)
        numbers += len(row)
        check_count(names)
    if rows:
        yield _python_table(names, rows)


def check_count(names: dict[str, Any]) -> None:
    """Raise TooManyColumns if there are more than MAX_COLUMNS names besides HEAD."""
    if len(names) > MAX_COLUMNS + len(HEAD):
        raise TooManyColumns(len(names) - len(HEAD), MAX_COLUMNS)


def _python_table(names: Iterable[str], rows: list[dict[str, float]]) -> pa.Table:
    return pa.table({name: pa.array([row.get(name) for row in rows], HEAD.get(name, pa.float64())) for name in names})


class _List:
    """A list, sampled under one name; each of its numbers becomes a column."""

    def __init__(self) -> None:
        self.item: pa.DataType | None = None
        self.length = 0


def _sampled_names(block: bytes) -> dict[str, Any]:
    """Sample some frames; map each name to its Arrow type, to a dict for an object, or to a _List."""
    if b"null" in block:  # Arrow misreads lists that begin with null: it reads [null, 1.5] as [1.5, 0.0]
        raise NotUniform
    names: dict[str, Any] = {}
    for place in range(SAMPLED_FRAMES):
        begin = block.rfind(b"\n", 0, place * (len(block) - 1) // (SAMPLED_FRAMES - 1)) + 1
        frame = orjson.loads(block[begin : block.index(b"\n", begin)])
        for name in HEAD:
            del frame[name]
        _learn(names, frame)
        if sum(1 for _ in _nodes(names)) > 2 * MAX_COLUMNS:  # objects in objects too
            raise NotUniform
    return names


def _learn(names: dict[str, Any], part: dict[str, Any]) -> None:
    for name, value in part.items():
        if type(value) is dict:
            known = names.setdefault(name, {})
            if type(known) is not dict:
                raise NotUniform
            _learn(known, value)
        elif type(value) is list:
            known = names.setdefault(name, _List())
            if type(known) is not _List:
                raise NotUniform
            kinds = {known.item, *map(_scalar, value)} - {None}
            if len(kinds) > 1:
                raise NotUniform
            known.item, known.length = next(iter(kinds), None), max(known.length, len(value))
        elif names.setdefault(name, _scalar(value)) != _scalar(value):
            raise NotUniform


def _scalar(value: Any) -> pa.DataType:
    match value:
        case bool():
            return pa.bool_()
        case int() | float():
            return pa.float64()
        case str():
            return pa.string()
    raise NotUniform  # lists of lists or of objects


def _nodes(names: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all names, dotted, each with its kind."""
    for name, kind in names.items():
        yield f"{prefix}{name}", kind
        if type(kind) is dict:
            yield from _nodes(kind, f"{prefix}{name}.")


def _count_columns(names: dict[str, Any], fields: Iterable[str]) -> int:
    """Return how many columns Arrow makes; raise NotUniform if they are too many, and the fields may select fewer."""
    count = selected = 0
    for name, kind in _nodes(names):
        length = kind.length if type(kind) is _List else 0 if type(kind) is dict or kind == pa.string() else 1
        count += length
        if is_selected(name, fields):
            selected += length
    if selected > MAX_COLUMNS:
        raise TooManyColumns(selected, MAX_COLUMNS)
    if count > MAX_COLUMNS:
        raise NotUniform
    return count


def _halves(block: bytes) -> tuple[bytes, bytes]:
    """Split a block of two frames or more at a line."""
    middle = block.find(b"\n", len(block) // 2, -1) + 1 or block.rfind(b"\n", 0, -1) + 1
    return block[:middle], block[middle:]


def _parsed(block: bytes, names: dict[str, Any]) -> pa.Table | None:
    """Parse with Arrow, which takes 3 us a frame without Python's lock; return None if a frame has other names."""
    schema = pa.schema([*HEAD.items(), *((name, _arrow_type(kind)) for name, kind in names.items())])
    options = pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    known = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    try:
        return pa.json.read_json(pa.BufferReader(block), options, known).combine_chunks()
    except pa.ArrowInvalid:
        return None


def _arrow_type(kind: Any) -> pa.DataType:
    if type(kind) is dict:
        return pa.struct([(name, _arrow_type(part)) for name, part in kind.items()])
    return pa.list_(kind.item or pa.float64()) if type(kind) is _List else kind


def _columns_of(frames: pa.Table, fields: Iterable[str]) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for name in frames.column_names:
        for leaf, values in leaves(name, frames[name].chunk(0)):
            is_number = pa.types.is_floating(values.type) or pa.types.is_boolean(values.type)
            if leaf in HEAD:
                columns[leaf] = values
            elif is_number and is_selected(leaf, fields):
                columns.setdefault(leaf, values.cast(pa.float64()))
                check_count(columns)
    return pa.table(columns)


def leaves(name: str, values: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """Yield the values inside objects and lists, each under its dotted name."""
    kind = values.type
    if pa.types.is_struct(kind):
        for position in range(kind.num_fields):
            part = pc.struct_field(values, [position])
            yield from leaves(f"{name}.{kind.field(position).name}", part)
    elif pa.types.is_list(kind):
        for position in range(pc.max(pc.list_value_length(values)).as_py() or 0):
            item = pc.list_slice(values, position, position + 1, return_fixed_size_list=True)
            yield from leaves(f"{name}.{position}", pc.list_element(item, 0))
    else:
        yield name, values
