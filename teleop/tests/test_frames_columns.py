"""Names and numbers in frames: pure functions from bytes to tables."""

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teleop.frames import columns
from teleop.frames.columns import portable_tables, session_tables, tables
from teleop.frames.fields import TooManyColumns, select


def block(*datas):
    frames = ({"frame_index": index, "timestamp": index / 60, **data} for index, data in enumerate(datas))
    return b"".join(orjson.dumps(frame) + b"\n" for frame in frames)


def table(lines, fields=(), read=tables):
    """Return the pieces of the table as one."""
    return pa.concat_tables(read(lines, fields), promote_options="default")


def columns_of(*datas, **options):
    return {name: values for name, values in table(block(*datas), **options).to_pydict().items() if "." in name}


def test_every_number_has_a_column_in_its_key_order():
    found = columns_of({"observation": {"z": 1, "a.pos": 2.5}, "action": {"joint_positions": [3, 4]}})
    assert list(found.items()) == [
        ("observation.z", [1.0]),
        ("observation.a.pos", [2.5]),
        ("action.joint_positions.0", [3.0]),
        ("action.joint_positions.1", [4.0]),
    ]


def test_missing_values_are_null():
    found = columns_of(
        {"observation": {"a": 1}}, {"observation": {"b": [1, 2]}}, {"observation": {"b": [3], "a": None}}
    )
    assert found == {
        "observation.a": [1, None, None],
        "observation.b.0": [None, 1, 3],
        "observation.b.1": [None, 2, None],
    }


def test_it_skips_text_and_converts_booleans_to_numbers():
    assert columns_of({"observation": {"s": "x", "when": "2020-01-01", "on": True, "n": None}}) == {
        "observation.on": [1]
    }


@pytest.mark.parametrize("other", ["open", [1, 2], {"x": 1}, True, None])
def test_a_field_may_change_its_type(other):
    found = columns_of({"observation": {"grip": 1}}, {"observation": {"grip": other}}, {"observation": {"grip": 2}})
    assert [found["observation.grip"][0], found["observation.grip"][2]] == [1, 2]


numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "é", ""]), inner),
    max_leaves=8,
)


@given(st.lists(st.fixed_dictionaries({"observation": st.dictionaries(st.text("ab", max_size=3), values)}), min_size=1))
def test_arrow_and_the_portable_reader_return_equal_tables(datas):
    lines = block(*datas)
    quick, portable = table(lines), table(lines, read=portable_tables)
    assert set(quick.column_names) == set(portable.column_names)
    assert quick.select(portable.column_names).equals(portable)


def test_frame_index_and_timestamp_are_always_columns():
    schema = table(block({"observation": {"a": 1, "b": 1}}), fields=["observation.b"]).schema
    assert (schema.names, schema.types[:2]) == (
        ["frame_index", "timestamp", "observation.b"],
        [pa.int64(), pa.float64()],
    )


@pytest.mark.parametrize("read", [tables, portable_tables])
def test_too_many_columns_are_refused(read, monkeypatch):
    monkeypatch.setattr(columns, "MAX_COLUMNS", 10)
    with pytest.raises(TooManyColumns, match="fields selects 11 numbers; at most 10 expected"):
        list(read(block({"observation": {"cloud": list(range(11))}})))


def test_fields_may_select_a_few_of_too_many_columns(monkeypatch):
    monkeypatch.setattr(columns, "MAX_COLUMNS", 10)
    found = columns_of({"observation": {"cloud": list(range(11)), "a": 1}}, fields=["observation.a"])
    assert found == {"observation.a": [1]}


def own_names(frames, names):
    """Return a block of frames in which no two frames share a name."""
    return block(*({"observation": {f"n{frame}_{name}": 0 for name in range(names)}} for frame in range(frames)))


@pytest.mark.parametrize("names", [4501, 1000])
def test_it_counts_names_before_arrow_parses_the_frames(names, monkeypatch):
    monkeypatch.setattr(pa.json, "read_json", None)
    with pytest.raises(TooManyColumns):
        list(tables(own_names(60, names)))


def test_it_counts_the_names_of_all_blocks_together(monkeypatch):
    monkeypatch.setattr(columns, "MAX_COLUMNS", 400)
    blocks = [
        own_names(1, 100),
        *(block({"observation": {f"m{part}_{name}": 0 for name in range(100)}}) for part in range(4)),
    ]
    with pytest.raises(TooManyColumns, match="fields selects 500 numbers; at most 400 expected"):
        list(session_tables(blocks))


def test_it_parses_only_a_small_piece_in_python_for_a_rare_name(monkeypatch):
    """A name that no sampled frame has splits the block."""
    by_python = []
    monkeypatch.setattr(
        columns, "portable_tables", lambda lines, fields: by_python.append(lines) or portable_tables(lines)
    )
    lines = block(*({"observation": {"a": index} | ({"event": 1} if index == 777 else {})} for index in range(2000)))
    found = table(lines).to_pydict()
    assert found["observation.a"] == list(range(2000))
    assert [index for index, value in enumerate(found["observation.event"]) if value] == [777]
    assert sum(lines.count(b"\n") for lines in by_python) <= columns.MIN_PIECE_FRAMES


@pytest.mark.parametrize("read", [tables, portable_tables])
def test_a_table_has_a_bounded_number_of_cells(read, monkeypatch):
    monkeypatch.setattr(columns, "MAX_CELLS", 100)
    parts = list(read(block(*({"observation": {"cloud": list(range(8))}} for _ in range(50)))))
    assert max(part.num_rows * part.num_columns for part in parts) <= 120
    assert sum(part.num_rows for part in parts) == 50


def test_select_keeps_the_nesting_and_the_order():
    frame = {"observation": {"b": {"c": 1, "d": 2}, "a.pos": [3]}, "action": {"a.pos": 4}, "observation2": 5}
    assert select(frame, ["observation.a", "observation.b.d"]) == {"observation": {"b": {"d": 2}, "a.pos": [3]}}
    assert select(frame, ["observation"]) == {"observation": frame["observation"]}
    assert select(frame, ["obs", "observation.b.c.x"]) == {}
