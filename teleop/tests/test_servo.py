"""The values that motors report: their names and their limits."""

import pytest

from teleop.servo import DEFAULT_LIMITS, MAX_LIMITS, limits_of, servo_name


@pytest.mark.parametrize(
    "name, parts",
    [
        ("temperature", ("", "temperature", False)),
        ("shoulder_pan.temperature", ("shoulder_pan", "temperature", False)),
        ("shoulder_pan.Present_Temperature", ("shoulder_pan", "temperature", True)),
        ("Present_Voltage", ("", "voltage", True)),
        ("left_gripper_LOAD", ("left_gripper", "load", False)),
        ("arm/6/current", ("arm/6", "current", False)),
        ("gripper.Error", ("gripper", "error", False)),
    ],
)
def test_it_recognizes_a_value_by_the_last_part_of_its_name(name, parts):
    assert servo_name(name) == parts


OTHER_NAMES = ["shoulder_pan.pos", "joint_positions.0", "gripper_temp", "overload", "payload", "errors", "load.", ""]


@pytest.mark.parametrize("name", [*OTHER_NAMES, ".load", "temperature.pos", "temperature.0", "Max_Temperature_Limit"])
def test_it_does_not_recognize_other_names(name):
    assert servo_name(name) is None


def test_a_session_overrides_the_limits_of_its_robot():
    robot = {"limits": {"temperature": 60, "shoulder_pan.temperature": 55, "current": 1}}
    session = {"limits": {"temperature": 50, "voltage": [6.0, 8.4], "current": None, "load": [None, 70]}}
    limits = limits_of(robot, session)
    assert limits.problems == []
    found = {name: limits.of(servo_name(name)) for name in ("elbow.temperature", "Shoulder_Pan_Present_Temperature")}
    assert list(found.values()) == [(-50, 50), (-55, 55)]
    names = ("voltage", "x.current", "load", "x.error")
    assert [limits.of(servo_name(name)) for name in names] == [(6, 8.4), (None, None), (None, 70), (0, 0)]


@pytest.mark.parametrize(
    "value", ["hot", True, [], [1], [1, 2, 3], [2, 1], [1, "2"], [True, 2], -1, {"max": 60}, 10**400, [None, 10**400]]
)
def test_it_ignores_a_limit_of_a_wrong_type_and_says_why(value):
    limits = limits_of({"limits": {"temperature": 60}}, {"limits": {"temperature": value, "load": 80}})
    assert limits.by_key == DEFAULT_LIMITS | {"temperature": (-60, 60), "load": (-80, 80)}
    (problem,) = limits.problems
    assert problem.startswith("limits.temperature is ")
    assert problem.endswith("; a number, [lower, upper] or null expected")


@pytest.mark.parametrize("meta_info", [None, [], 5, "limits", {}, {"limits": None}, {"limits": {}}])
def test_it_has_default_limits_for_any_meta_info(meta_info):
    assert limits_of(meta_info, meta_info) == (DEFAULT_LIMITS, [])


def test_it_names_limits_of_other_values_and_counts_the_rest():
    limits = limits_of({"limits": [1]}, {"limits": {"temprature": 60, "x" * 200: 1, "pan.pos": [0, 1], "tilt.pos": 5}})
    assert limits.by_key == DEFAULT_LIMITS
    expected = "a name that ends with temperature, load, voltage, current, error expected"
    assert limits.problems[:2] == ["limits is [1]; an object expected", f'limits has "temprature"; {expected}']
    assert len(limits.problems) == 4 and limits.problems[3] == "2 more limits are ignored"


def test_it_keeps_a_bounded_number_of_limits():
    limits = limits_of({"limits": {f"motor{number}.load": 1 for number in range(1000)} | {"load": 50}})
    assert len(limits.by_key) == MAX_LIMITS
    assert limits.by_key["load"] == (-50, 50)
