"""The values of motors in the quality of a session."""

import pytest
from django.core.management import call_command

from robots.models import Robot
from teleop.models import TeleopSession
from teleop.quality.motion import read_motion
from teleop.quality.servo_health import ServoHealth
from teleop.tests.recordings import make_session

pytestmark = pytest.mark.django_db


def quality_of(*observations: dict | None, of_robot: object = None, of_session: object = None) -> dict:
    """Return the quality of a session with one frame for each observation."""
    session = make_session(range(len(observations)), data=lambda index: {"observation": observations[index]})
    Robot.objects.update(meta_info=of_robot)
    TeleopSession.objects.update(meta_info=of_session)
    TeleopSession.objects.filter(pk=session.pk).finish()
    call_command("quality")
    session.refresh_from_db()
    return session.quality


def test_it_counts_the_frames_over_the_limit_and_keeps_the_extremes_of_each_kind():
    health = quality_of(
        {"pan.pos": 0.5, "pan.temperature": 40, "lift.temperature": 66, "pan.voltage": 7.4, "pan.load": -95},
        {"pan.pos": 0.5, "pan.temperature": 70, "lift.temperature": 71.5, "pan.voltage": 4.4, "pan.load": 90},
        {"pan.pos": 0.5, "pan.temperature": 65, "lift.temperature": 65, "pan.error": True, "lift_error": 0},
        {"pan.pos": 0.5},
    )["servo_health"]
    assert health == {
        "temperature": {"frames_over": 2, "min": 40.0, "max": 71.5},
        "load": {"frames_over": 1, "min": -95.0, "max": 90.0},
        "voltage": {"frames_over": 1, "min": 4.4, "max": 7.4},
        "error": {"frames_over": 1, "min": 0.0, "max": 1.0},
    }


def registers(temperature: int, load: int, voltage: int, current: int) -> dict[str, int]:
    values = {"Temperature": temperature, "Load": load, "Voltage": voltage, "Current": current}
    return {f"pan.Present_{kind}": value for kind, value in values.items()}


def test_it_converts_the_registers_of_lerobots_motor_tables():
    """A load of 1,250 and a current of 32,868 are negative: their highest bit is the sign."""
    health = quality_of(
        registers(65, 900, 130, 100),
        registers(66, 1250, 44, 32868),
        registers(65, -901, 74, 308),
    )["servo_health"]
    assert health == {
        "temperature": {"frames_over": 1, "min": 65.0, "max": 66.0},
        "load": {"frames_over": 1, "min": -90.1, "max": 90.0},
        "voltage": {"frames_over": 1, "min": 4.4, "max": 13.0},
        "current": {"frames_over": 1, "min": -0.65, "max": 2.002},
    }


@pytest.mark.parametrize(
    "frame",
    [
        {"observation": {"pan": {"pos": 1, "temperature": 80}}},
        {"observation.pan.temperature": 80, "observation.pan.pos": 1},
        {"observation.state": [1, 2], "observation.pan/temperature": 80, "action": [1, 2]},
        {"observation": {"pan.pos": None, "pan.temperature": 80}},  # null: columns are read by Python
    ],
)
def test_it_reads_frames_of_every_shape(frame):
    session = make_session(range(3), data=lambda index: frame)
    TeleopSession.objects.filter(pk=session.pk).finish()
    session.refresh_from_db()
    health = read_motion(session).servo_scores["servo_health"]
    assert health == {"temperature": {"frames_over": 3, "min": 80.0, "max": 80.0}}


@pytest.mark.parametrize(
    "data",
    [
        {"observation": {"pan.pos": 1}, "action": {"pan.load": 99}, "temperature": 99},
        {"observation": {"temperature": [99, 98], "pan.error": None, "pan.load": "99"}},
    ],
)
def test_a_session_without_values_of_motors_has_no_servo_health(data):
    session = make_session(range(3), data=lambda index: data)
    TeleopSession.objects.filter(pk=session.pk).finish()
    call_command("quality")
    session.refresh_from_db()
    assert not {"servo_health", "limits_ignored"} & set(session.quality)


def test_the_meta_info_of_the_session_and_its_robot_overrides_the_limits():
    quality = quality_of(
        {"pan.temperature": 56, "lift.temperature": 56, "pan.Present_Voltage": 74},
        {"pan.temperature": 50, "lift.temperature": 61, "pan.Present_Voltage": 90},
        {"pan.temperature": 50, "lift.temperature": 50, "pan.Present_Voltage": 59},
        of_robot={"limits": {"temperature": 60, "voltage": [6, 8.4]}},
        of_session={"limits": {"pan.temperature": 55, "load": "low"}},
    )
    assert quality["servo_health"]["temperature"]["frames_over"] == 2
    assert quality["servo_health"]["voltage"]["frames_over"] == 2
    assert quality["limits_ignored"] == ['limits.load is "low"; a number, [lower, upper] or null expected']


def test_values_of_motors_change_no_other_score():
    def observation(index: int) -> dict:
        return {"pan.pos": index % 7, "lift.pos": index % 3}

    plain = quality_of(*(observation(index) for index in range(120)))
    TeleopSession.objects.all().delete()
    reported = quality_of(*(observation(index) | {"pan.temperature": index, "load": index % 2} for index in range(120)))
    assert reported.pop("servo_health")["temperature"]["frames_over"] == 54
    assert reported == plain


def test_it_has_finite_extremes_for_extreme_values():
    found = quality_of({"Present_Load": 1e308, "x.current": -1e308}, {"Present_Load": -1e308, "x.current": 1e308})
    assert found["servo_health"]["load"]["frames_over"] == 2
    assert found["servo_health"]["current"] == pytest.approx({"frames_over": 2, "min": -1e308, "max": 1e308})


def test_it_reads_the_robot_only_if_motors_report_values(django_assert_num_queries):
    session = TeleopSession.objects.get(pk=make_session().pk)
    with django_assert_num_queries(0):
        assert ServoHealth(session).scores() == {}
