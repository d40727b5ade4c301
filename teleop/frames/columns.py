"""Frames as columns: numbers under dotted names, `observation.shoulder_pan.pos` or `observation.joint_positions.0`.

No Django, no I/O: bytes in, Arrow tables out.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

HEAD = {"frame_index": pa.int64(), "timestamp": pa.float64()}
MAX_COLUMNS = 4096


class TooManyColumns(Exception):
    """Frames with lists of thousands of numbers make no table."""


def is_selected(name: str, fields: Iterable[str]) -> bool:
    """A field stands for itself and all that is below it; no fields stand for all."""
    return not fields or any(name == field or name.startswith(f"{field}.") for field in fields)


def select(value: dict[str, Any], fields: Iterable[str], prefix: str = "") -> dict[str, Any]:
    """Of a frame what the fields name, in its place and order; a list is taken as a whole."""
    selected = {}
    for key, part in value.items():
        name = f"{prefix}{key}"
        if is_selected(name, fields):
            selected[key] = part
        elif isinstance(part, dict) and (below := select(part, fields, f"{name}.")):
            selected[key] = below
    return selected


def names_of(value: Any, prefix: str = "") -> Iterator[str]:
    """All names in a frame that a field may be: of objects, and of the numbers of lists."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        name = f"{prefix}{key}"
        yield name
        yield from names_of(part, f"{name}.")


def numbers_of(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """All numbers in a frame with their names, true and false as 1 and 0; whatever else is in it is passed over."""
    match value:
        case dict():
            parts = value.items()
        case list():
            parts = enumerate(value)
        case bool() | int() | float():
            yield name, float(value)
            return
        case _:
            return
    for key, part in parts:
        yield from numbers_of(part, f"{name}.{key}" if name else key)


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
