"""The line of a session's speeds, and the usual range of each number of the quality by task."""

import numpy as np
import pytest
from django.core.management import call_command

from teleop.models import TaskRange, TeleopSession
from teleop.quality import job, task_ranges
from teleop.quality.ranges import judge, usual_ranges
from teleop.quality.sparkline import sparkline
from teleop.tests.recordings import make_session, record


def line(positions, timestamps=None) -> list[int]:
    positions = np.asarray(positions, float).reshape(len(positions), -1)
    times = np.arange(len(positions)) / 60 if timestamps is None else np.asarray(timestamps, float)
    return list(sparkline(times, positions))


def test_the_fastest_part_of_the_line_is_255():
    still, slow, fast = np.zeros(160), np.arange(160) / 160, 1 + np.arange(160) * 3 / 160
    found = line(np.concatenate([still, slow, fast, np.full(161, 4.0)]))
    assert len(found) == 64
    assert (found[5], found[20], found[40], found[60]) == (0, 85, 255, 0)


def test_a_short_session_has_a_part_for_each_step():
    assert line([0, 1, 1, 3]) == [128, 0, 255]


def test_each_joint_counts_as_a_share_of_its_range():
    gripper, shoulder = np.r_[np.linspace(0, 1, 65), np.ones(64)], np.r_[np.zeros(65), np.linspace(90 / 64, 90, 64)]
    found = line(np.stack([gripper * 20, shoulder], 1))
    assert min(found) > 240
    assert max(line(np.stack([gripper / 1000, shoulder], 1))[:30]) < 40  # an encoder's noise is no movement


def test_missing_frames_are_passed_at_an_even_speed():
    assert line([0, 1, 2, 10], [0, 1, 2, 10]) == [255, 255, 255]


def test_a_clock_that_steps_back_a_little_changes_nothing():
    assert line([0, 1, 2, 3], [0, 1, 0.95, 3]) == line([0, 1, 2, 3], [0, 1, 1, 3])


@pytest.mark.parametrize("positions", [np.zeros((0, 2)), np.zeros((1, 2)), np.zeros((5, 0))])
def test_there_is_no_line_without_steps_or_joints(positions):
    assert sparkline(np.arange(len(positions)) / 60, positions) == b""


def test_missing_and_wild_values_are_no_movement():
    assert line([0, np.nan, 5, 5, 5]) == [0, 0, 0, 0]
    assert line([[0, 0], [1e308, 1], [-1e308, 2], [0, 3]])
    assert line([1, 1, 1]) == [0, 0]


def of_jerks(*jerks) -> list[dict]:
    return [{"jerk": jerk, "missing_frames": 0} for jerk in jerks]


def test_a_range_leaves_out_wild_values():
    ranges = usual_ranges(of_jerks(90, 95, 100, 100, 105, 110, 115, 10**6))
    low, high = ranges["jerk"]
    assert 60 < low < 90 and 115 < high < 140
    assert ranges["missing_frames"] == [0, 0]
    assert set(ranges) == {"jerk", "missing_frames"}


def test_a_range_of_equal_numbers_has_a_tenth_on_both_sides():
    assert usual_ranges(of_jerks(*[100] * 8))["jerk"] == pytest.approx([90, 110])


def test_fewer_than_eight_numbers_have_no_range():
    assert usual_ranges([*of_jerks(*[100] * 7), {"jerk": None}, {"jerk": True}, {"jerk": float("inf")}, {}]) == {}


def test_it_judges_each_number():
    ranges = {"jerk": [10, 20], "idle_share": [0.1, 0.2], "fps_jitter": [0, 1]}
    words = judge({"jerk": 21, "idle_share": 0.05, "fps_jitter": None, "missing_frames": 3}, ranges)
    unknown = dict.fromkeys(("fps_jitter", "missing_frames", "duration_s"))
    assert words == {"jerk": "high", "idle_share": "low", "overall": "unusual"} | unknown
    assert judge({"jerk": 20}, ranges)["overall"] == "usual"
    for nothing in (None, {}, {"duration_s": 3}):
        assert set(judge(nothing, ranges).values()) == {None}


@pytest.fixture
def folded(db) -> list[TeleopSession]:
    """Return nine sessions of one task with their quality, of which the last one has missing frames."""
    sessions = [make_session(range(30), key=f"fold-{number}") for number in range(9)]
    record(sessions[-1], [40])
    for session in sessions:
        TeleopSession.objects.filter(pk=session.pk).update(
            frame_count=session.frames.count(), meta_info={"task": "Fold"}
        )
    call_command("quality")
    return sessions


def compute_ranges() -> None:
    for row in task_ranges.due():
        task_ranges.compute(row)


def test_it_judges_sessions_by_the_others_of_their_task(viewer, folded):
    path = f"/sessions/{folded[-1].pk}"
    assert (viewer.get(path).json()["judgement"]["overall"], viewer.get(path).json()["usual_ranges"]) == (None, {})
    compute_ranges()
    shown = {row["id"]: row for row in viewer.get("/sessions/review").json()["results"]}
    assert shown[folded[0].pk]["judgement"]["overall"] == "usual"
    last = viewer.get(path).json()
    assert last["judgement"] == shown[folded[-1].pk]["judgement"]
    assert (last["judgement"]["missing_frames"], last["judgement"]["overall"]) == ("high", "unusual")
    assert last["usual_ranges"]["missing_frames"] == [0, 0]
    assert TaskRange.objects.get().sessions == 9


def test_the_quality_has_a_line_of_speeds(viewer, folded):
    assert viewer.get(f"/sessions/{folded[0].pk}").json()["sparkline"] == [255] * 29
    plain = make_session(key="plain")
    assert viewer.get(f"/sessions/{plain.pk}").json()["sparkline"] is None


def test_ranges_are_due_again_after_a_change(curator, folded):
    compute_ranges()
    assert not task_ranges.due().exists()
    body = {"meta_info": {"task": "Stack", "note": "x"}}
    assert curator.patch(f"/sessions/{folded[0].pk}", body).json()["judgement"]["overall"] is None
    assert sorted(task_ranges.due().values_list("task", flat=True)) == ["Fold", "Stack"]
    compute_ranges()
    assert dict(TaskRange.objects.values_list("task", "sessions")) == {"Fold": 8, "Stack": 1}
    curator.patch(f"/sessions/{folded[0].pk}", {"meta_info": {"note": "y"}})
    assert not task_ranges.due().exists()


def test_a_change_during_the_computation_is_not_lost(folded):
    row = task_ranges.due().get()
    TaskRange.objects.note_changes(["Fold"])  # before it reads
    task_ranges.compute(row)
    assert not task_ranges.due().exists()
    task_ranges.give_up(row, "it failed")
    assert task_ranges.due().exists()


def test_ranges_of_a_task_without_sessions_are_deleted(db):
    TaskRange.objects.note_changes(["Fold", None, 3, ""])
    compute_ranges()
    assert not TaskRange.objects.exists()


def test_ranges_leave_out_the_trash(curator, folded):
    compute_ranges()
    curator.post(f"/sessions/{folded[-1].pk}/trash")
    compute_ranges()
    assert TaskRange.objects.get().sessions == 8


def test_sparklines_are_computed_for_sessions_of_an_older_version(folded):
    TeleopSession.objects.filter(pk=folded[0].pk).update(sparkline=None)
    call_command("quality")
    assert TeleopSession.objects.get(pk=folded[0].pk).sparkline is None
    call_command("quality", "--sparklines")
    assert TeleopSession.objects.get(pk=folded[0].pk).sparkline == bytes([255] * 29)


def test_a_quality_without_frames_has_no_line(folded):
    session = TeleopSession.objects.get(pk=folded[0].pk)
    job.give_up(session, "too many columns")
    session.refresh_from_db()
    assert (session.sparkline, session.quality["error"]) == (None, "too many columns")
