"""Names and numbers in frames: pure, bytes in and tables out."""

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teleop.frames import columns
from teleop.frames.columns import portable_table, table
from teleop.frames.fields import TooManyColumns, select


def block(*datas):
    frames = ({"frame_index": index, "timestamp": index / 60, **data} for index, data in enumerate(datas))
    return b"".join(orjson.dumps(frame) + b"\n" for frame in frames)


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


def test_what_a_frame_has_not_is_null():
    found = columns_of(
        {"observation": {"a": 1}}, {"observation": {"b": [1, 2]}}, {"observation": {"b": [3], "a": None}}
    )
    assert found == {
        "observation.a": [1, None, None],
        "observation.b.0": [None, 1, 3],
        "observation.b.1": [None, 2, None],
    }


def test_text_is_left_out_and_truth_is_a_number():
    assert columns_of({"observation": {"s": "x", "when": "2020-01-01", "on": True, "n": None}}) == {
        "observation.on": [1]
    }


@pytest.mark.parametrize("other", ["open", [1, 2], {"x": 1}, True, None])
def test_a_name_may_be_one_thing_now_and_another_later(other):
    found = columns_of({"observation": {"grip": 1}}, {"observation": {"grip": other}}, {"observation": {"grip": 2}})
    assert [found["observation.grip"][0], found["observation.grip"][2]] == [1, 2]


numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "é", ""]), inner),
    max_leaves=8,
)


@given(st.lists(st.fixed_dictionaries({"observation": st.dictionaries(st.text("ab", max_size=3), values)}), min_size=1))
def test_arrow_finds_what_the_portable_way_finds(datas):
    lines = block(*datas)
    quick, portable = table(lines), portable_table(lines)
    assert set(quick.column_names) == set(portable.column_names)
    assert quick.select(portable.column_names).equals(portable)


def test_the_head_is_always_there():
    schema = table(block({"observation": {"a": 1, "b": 1}}), fields=["observation.b"]).schema
    assert (schema.names, schema.types[:2]) == (
        ["frame_index", "timestamp", "observation.b"],
        [pa.int64(), pa.float64()],
    )


@pytest.mark.parametrize("read", [table, portable_table])
def test_too_many_columns_are_refused(read, monkeypatch):
    monkeypatch.setattr(columns, "MAX_COLUMNS", 10)
    with pytest.raises(TooManyColumns, match="more than 10 numbers"):
        read(block({"observation": {"cloud": list(range(11))}}))


def test_select_keeps_place_and_order():
    frame = {"observation": {"b": {"c": 1, "d": 2}, "a.pos": [3]}, "action": {"a.pos": 4}, "observation2": 5}
    assert select(frame, ["observation.a", "observation.b.d"]) == {"observation": {"b": {"d": 2}, "a.pos": [3]}}
    assert select(frame, ["observation"]) == {"observation": frame["observation"]}
    assert select(frame, ["obs", "observation.b.c.x"]) == {}
