"""`manage.py quality`: the sessions that it selects, the data that it reads, and the data that it does not change."""

import math
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.db.models import F

from teleop.models import TeleopSession
from teleop.quality import job, motion
from teleop.tests.recordings import T0, make_session, record

pytestmark = pytest.mark.django_db


def swings(index):
    """Return a frame of flat joints that swing at half a turn a second; the action is constant."""
    position = 50 * math.sin(2 * math.pi * 0.5 * index / 60)
    return {"observation": {"pan.pos": position, "temperature": index}, "action": {"pan.pos": 0}}


def ended(indexes=range(601), data=swings, days=0, **fields) -> TeleopSession:
    session = make_session(indexes, data=data, start=T0 + timedelta(days=days))
    TeleopSession.objects.filter(pk=session.pk).update(**fields)
    TeleopSession.objects.filter(pk=session.pk).finish()
    return session


def computed(session: TeleopSession, *arguments: str) -> dict | None:
    call_command("quality", *arguments)
    session.refresh_from_db()
    return session.quality


def test_it_computes_quality_from_the_frames():
    found = computed(ended([index for index in range(601) if index % 100 != 7]))
    assert found == {
        "idle_share": 0.0,
        "jerk": pytest.approx(50 * math.pi**3 / math.sqrt(2), rel=0.01),
        "fps_jitter": pytest.approx(0.1, abs=0.01),
        "missing_frames": 6,
        "duration_s": 10.0,
        "duration_ratio": None,
        "clock_steps": [],
        "servo_health": {"temperature": {"frames_over": 530, "min": 0.0, "max": 600.0}},
    }


def test_it_corrects_the_times_after_an_unnoticed_clock_step():
    """The worker was killed after the step and before the next heartbeat."""
    session = ended()
    session.frames.filter(frame_index__range=(200, 399)).update(timestamp=F("timestamp") + timedelta(days=365))
    TeleopSession.objects.filter(pk=session.pk).finish()
    quality = computed(session)
    assert [step["frame_index"] for step in quality["clock_steps"]] == [200, 400]
    assert session.clock_steps == quality["clock_steps"]
    assert session.start_time == T0
    assert session.end_time == T0 + timedelta(days=365, microseconds=6_650_000)
    assert (session.duration_s, quality["duration_s"]) == (pytest.approx(10), pytest.approx(10))


def test_it_uses_the_action_if_there_is_no_observation():
    session = ended(data=lambda index: {"action": {"joint_positions": [swings(index)["observation"]["pan.pos"], 1]}})
    assert computed(session)["jerk"] == pytest.approx(50 * math.pi**3 / 2, rel=0.01)


@pytest.mark.parametrize(
    "observation_of",
    [
        lambda position: {"pan": position, "lift": 1, "mode": "hold", "is_held": True, "pan.load": position},
        lambda position: {"arm": {"pan": position, "lift": 1}, "gripper": None},
        lambda position: {"qpos": [position, 1]},
    ],
    ids=["flat", "in an object", "another list"],
)
def test_it_takes_all_numbers_for_joints_if_no_name_tells_a_position(observation_of):
    def data(index):
        return {"observation": observation_of(swings(index)["observation"]["pan.pos"])}

    session = ended(data=data)
    quality = computed(session)
    assert (quality["idle_share"], quality["jerk"]) == (0.0, pytest.approx(50 * math.pi**3 / 2, rel=0.01))
    assert session.sparkline


def test_it_uses_the_joints_of_the_first_frame():
    """It ignores other joints that replace them in the middle of the session."""
    other = {"observation": {"elbow.pos": 1e30}}
    session = ended(data=lambda index: swings(index) if index < 300 else other)
    assert computed(session)["jerk"] == pytest.approx(50 * math.pi**3 / math.sqrt(2), rel=0.01)


@pytest.mark.parametrize("indexes, missing, duration_s", [([], 0, None), ([7], 0, 0.0), ([7, 9], 1, 1 / 30)])
def test_it_computes_partial_quality_for_few_frames(indexes, missing, duration_s):
    found = computed(ended(indexes))
    assert (found["missing_frames"], found["jerk"], found["idle_share"]) == (missing, None, None)
    assert found["duration_s"] == (None if duration_s is None else pytest.approx(duration_s, abs=1e-5))


def test_frames_without_joints_have_no_jerk():
    found = computed(ended(data=lambda index: {"observation": {"text": "no numbers"}}))
    assert (found["jerk"], found["idle_share"], found["duration_s"]) == (None, None, 10.0)


@pytest.mark.django_db(transaction=True)  # a block that ends early cancels its COPY, and so a transaction around it
def test_it_computes_the_same_quality_in_blocks(monkeypatch):
    session = ended()
    whole = computed(session)
    monkeypatch.setattr("teleop.frames.sql.BLOCK_BYTES", 1000)
    assert computed(session, f"--session={session.pk}") == whole


def test_it_reads_only_the_first_joints_if_there_are_many(monkeypatch):
    monkeypatch.setattr(motion, "MAX_NUMBERS", 2 * 601 + 1)
    session = ended(data=lambda index: {"observation": {"joint_positions": [index] * 5}})
    session.refresh_from_db()
    assert motion.read_motion(session).positions.shape == (601, 2)


def test_it_compares_the_duration_with_sessions_of_the_same_task():
    fold, sort = {"task": "Fold"}, {"task": "Sort"}
    for indexes in ([0, 60], [0, 120], [0, 600], []):
        ended(indexes, meta_info=fold)
    ended([0, 60], meta_info=sort)
    make_session([0, 60], is_live=True)
    assert computed(ended([0, 240], meta_info=fold))["duration_ratio"] == 2.0
    assert computed(ended([0, 240], meta_info=sort))["duration_ratio"] is None


def test_it_processes_due_sessions_newest_first(capsys):
    old, new, done = ended(), ended(days=1), ended(days=2)
    TeleopSession.objects.filter(pk=done.pk).update(quality={"jerk": 1.0})
    live = make_session([0], is_live=True)
    call_command("quality")
    assert capsys.readouterr().out == f"session {new.pk}: 601 frames\nsession {old.pk}: 601 frames\n"
    live.refresh_from_db()
    assert live.quality is None
    call_command("quality")
    assert capsys.readouterr().out == ""


def test_it_recomputes_only_the_named_session():
    session, other = ended(), ended()
    TeleopSession.objects.update(quality={"jerk": 1.0})
    assert computed(session, f"--session={session.pk}")["duration_s"] == 10.0
    assert computed(other, f"--session={session.pk}") == {"jerk": 1.0}


def test_a_session_recorded_during_the_computation_stays_due(monkeypatch):
    session = ended()

    read_motion = motion.read_motion

    def read_while_it_goes_on(session):
        found = read_motion(session)
        record(session, [601])
        TeleopSession.objects.filter(pk=session.pk).finish()
        return found

    monkeypatch.setattr("teleop.quality.motion.read_motion", read_while_it_goes_on)
    assert computed(session) is None


def failing_for(session: TeleopSession, error: Exception):
    read_motion = motion.read_motion

    def read(other):
        if other.pk == session.pk:
            raise error
        return read_motion(other)

    return read


def test_giving_up_stores_the_reason_and_what_is_known_without_the_frames():
    for _ in range(3):
        ended([0, 60], meta_info={"task": "Fold"})
    session = ended([0, 60, 120], meta_info={"task": "Fold"})
    session.refresh_from_db()
    job.give_up(session, "its process was killed by SIGKILL")
    session.refresh_from_db()
    assert session.quality == {
        "idle_share": None,
        "jerk": None,
        "fps_jitter": None,
        "missing_frames": 118,
        "duration_s": 2.0,
        "duration_ratio": 2.0,
        "clock_steps": [],
        "error": "its process was killed by SIGKILL",
    }
    assert session not in job.due()
    assert computed(session, f"--session={session.pk}")["jerk"] is None


def test_a_failed_session_stays_due_and_does_not_stop_the_others(monkeypatch, capsys):
    good, bad = ended(), ended(days=1)
    failing = failing_for(bad, OperationalError("server closed the connection"))
    monkeypatch.setattr("teleop.quality.motion.read_motion", failing)
    with pytest.raises(CommandError, match="the quality of 1 sessions could not be computed"):
        call_command("quality")
    assert list(TeleopSession.objects.quality_due()) == [bad]
    assert f"session {bad.pk}: OperationalError: server closed the connection" in capsys.readouterr().err
    good.refresh_from_db()
    assert good.quality


@pytest.mark.parametrize("names", [100, 4501])
def test_it_stores_an_error_for_frames_with_too_many_names(names):
    session = ended(range(60), data=lambda index: {"observation": {f"n{index}_{name}": 0 for name in range(names)}})
    assert computed(session)["error"].endswith(" numbers of different names; at most 4096 expected")


def test_it_runs_a_fixed_number_of_queries_per_session(django_assert_num_queries):
    """One for the list, eleven a session: row, first frame, two blocks, robot, others, faults, save ... failed job.

    With the quality it notes the ranges of the task, and reads the webhooks. The two of a savepoint are a transaction
    outside of tests; the first session of a task adds the row of its ranges.
    """
    for _ in range(3):
        ended(meta_info={"task": "Fold"})
    with django_assert_num_queries(1 + 3 * (11 + 2) + 4):
        call_command("quality")


def test_it_counts_the_faults_of_cameras_that_the_robot_reported():
    session = ended(range(10))
    details = [{"camera": "front", "fault": "frozen"}] * 2 + [{"camera": "wrist", "fault": "slow"}, {"fault": 5}, [1]]
    for number, detail in enumerate(details):
        session.events.create(event_id=f"fault-{number}", kind="camera", timestamp=T0, detail=detail)
    session.events.create(event_id="mark-1", kind="mark", timestamp=T0, detail={"camera": "front", "fault": "slow"})
    assert computed(session)["camera_faults"] == {"front": {"frozen": 2}, "wrist": {"slow": 1}}
