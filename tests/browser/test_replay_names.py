"""Names, groups and order of values, and names of keys: modules without a DOM."""

import pytest

pytestmark = pytest.mark.postgresql  # once is enough

MODULES = """
const { groupOf, labelOf, placeOf, rankOf } = await import("/static/teleop/jointvalues.js");
const { jointsOf } = await import("/static/teleop/series.js");
const { keyOf } = await import("/static/teleop/keys.js");
const column = (name) => ({ name, timestamps: [1], values: [1] });
"""


@pytest.mark.parametrize(
    "expression, expected",
    {
        "['left_gripper.pos', 'arm_right.pos', 'leftover.pos', 'motor_1.temperature', 'head_pan.pos'].map(groupOf)": [
            *("Left", "Right", "", "Motors", "Head")
        ],
        "['gripper.pos', 'position', 'joint_positions.0'].map(labelOf)": ["gripper", "position", "joint_positions.0"],
        "placeOf('action.state.0')": {"part": "action", "joint": "0"},
        # The fleet, live page and replay give the colours in this order.
        "jointsOf(['battery', 'action.b.pos', 'observation.m.load', 'observation.closed', 'observation.a.pos', "
        "'observation.b.pos'].map(column), 0).map(({ name }) => name)": [
            *("a.pos", "b.pos", "closed", "battery", "m.load")
        ],
        "[['KeyS', 'ㄴ'], ['KeyS', 'S'], ['Digit3', '#'], ['Comma', ',']].map(([code, key]) => keyOf({ code, key }))": [
            *("s", "s", "#", ",")
        ],
        "[{ shiftKey: true }, { ctrlKey: true }].map((held) => keyOf({ code: 'KeyS', key: 's', ...held }))": ["S", ""],
    }.items(),
)
def test_it_names_values_and_keys(blank, expression, expected):
    assert blank.evaluate(f"async () => {{ {MODULES}; return {expression}; }}") == expected
