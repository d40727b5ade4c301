"""Frames as columns: bytes in, Arrow tables out; no Django, no I/O.

Arrow and NumPy are 50 MB in a process, so this is imported by the request that first wants columns.
"""

from collections.abc import Iterable, Iterator

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from teleop.frames.fields import TooManyColumns, is_selected, numbers_of

HEAD = {"frame_index": pa.int64(), "timestamp": pa.float64()}
MAX_COLUMNS = 4096


def table(block: bytes, fields: Iterable[str] = ()) -> pa.Table:
    """The frames of a block as columns of doubles, in their key order; where a frame has no number, null."""
    frames = _parsed(block)
    if frames is None:
        return portable_table(block, fields)
    columns: dict[str, pa.Array] = {}
    for name in frames.column_names:
        for leaf, numbers in _leaves(name, frames[name].chunk(0)):
            if leaf in HEAD or is_selected(leaf, fields):
                _bounded(columns).setdefault(leaf, numbers)
    return pa.table({name: values.cast(HEAD.get(name, pa.float64())) for name, values in columns.items()})


def portable_table(block: bytes, fields: Iterable[str] = ()) -> pa.Table:
    rows = [dict(numbers_of(orjson.loads(line))) for line in block.splitlines()]
    names: dict[str, None] = {}
    for row in rows:
        for name in row:
            if name not in names and (name in HEAD or is_selected(name, fields)):
                _bounded(names)[name] = None
    columns = {name: pa.array([row.get(name) for row in rows], pa.float64()) for name in names}
    return pa.table({name: values.cast(HEAD.get(name, pa.float64())) for name, values in columns.items()})


def _parsed(block: bytes) -> pa.Table | None:
    """By Arrow's parser, which takes 3 us a frame and leaves the other threads alone; the portable way takes 15 with
    Python's lock held.

    None where it will not do. It wants each name to be one type of thing throughout, and it misreads lists that do not
    begin with what they go on with: of [null, 1.5] it makes [1.5, 0.0], and the like of [{}, {"a": 1}].
    """
    if b"null" in block:
        return None
    options = pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    try:
        frames = pa.json.read_json(pa.BufferReader(block), read_options=options).combine_chunks()
    except pa.ArrowInvalid:
        return None
    return None if any(map(_has_list_of_parts, frames.schema.types)) else frames


def _bounded(names: dict) -> dict:
    if len(names) >= MAX_COLUMNS:
        raise TooManyColumns(f"the frames have more than {MAX_COLUMNS} numbers; choose fewer by `fields`")
    return names


def _has_list_of_parts(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return pa.types.is_nested(kind.value_type)
    return pa.types.is_struct(kind) and any(_has_list_of_parts(field.type) for field in kind)


def _leaves(name: str, values: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    kind = values.type
    if pa.types.is_struct(kind):
        for position in range(kind.num_fields):
            part = pc.struct_field(values, [position])
            yield from _leaves(f"{name}.{kind.field(position).name}", part)
    elif pa.types.is_list(kind):
        for position in range(pc.max(pc.list_value_length(values)).as_py() or 0):
            item = pc.list_slice(values, position, position + 1, return_fixed_size_list=True)
            yield from _leaves(f"{name}.{position}", pc.list_element(item, 0))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        yield name, values.cast(pa.float64(), safe=False)
