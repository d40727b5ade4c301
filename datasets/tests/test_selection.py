"""Selecting sessions for an export."""

from datetime import timedelta
from typing import Any

import pytest

from datasets import selection
from datasets.options import Options
from datasets.selection import estimate, select
from datasets.types import Refused
from robots.models import Robot
from teleop.models import TeleopSession
from teleop.tests.recordings import T0
from videos.models import VideoChunk

pytestmark = pytest.mark.django_db


def make(key: str, seconds: float | None = 60, robot="arm", hour=0, frame_count=1800, **fields: Any) -> TeleopSession:
    """Store a session without frames that says how many it has; `seconds=None`: a live one."""
    owner, _ = Robot.objects.get_or_create(pk=robot)
    start = T0 + timedelta(hours=hour)
    end = None if seconds is None else start + timedelta(seconds=seconds)
    given = {"start_time": start, "end_time": end, "frame_count": frame_count} | fields
    return TeleopSession.objects.create(robot=owner, key=key, **given)


def keys(*args: Any) -> list[str]:
    return [session.key for session in select(*args)]


def test_it_selects_all_sessions_that_can_be_exported_oldest_first():
    make("second", hour=2)
    make("first", hour=1)
    make("live", seconds=None)
    make("empty", frame_count=0)
    assert keys() == ["first", "second"]


@pytest.mark.parametrize(
    "where",
    [
        "task=Fold the towel&success=true",
        "task=Fold+the+towel",
        "task=Fold%20the%20towel",
        "operator=ada",
        "tag=night",
        "min_duration=90",
        {"task": "Fold the towel", "success": True},
        {"min_duration": 90},
    ],
)
def test_it_selects_by_the_filters_of_the_list(where):
    make("other", meta_info={"task": "Stack", "success": False})
    make("found", 100, meta_info={"task": "Fold the towel", "success": True, "operator": "ada", "tags": ["night"]})
    assert keys(where) == ["found"]


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("tusk=Fold", "'tusk' is no filter of sessions; robot, live, task"),
        ("limit=3", "'limit' is no filter of sessions"),
        ("task=", "filter task is empty; give it a value or omit it"),
        ("success", "filter success is empty"),
        ("task=a&task=b", "filter task is given 2 times; once expected"),
        ("success=yes", "a filter has an unusable value: success: .*yes"),
        ("min_duration=-1", "a filter has an unusable value: min_duration: "),
        ("from=2026-01-02&to=2026-01-01", "a filter has an unusable value: "),
        ("task=%00", "a filter has an unusable value: task: "),
        ("&".join(f"task{n}=" for n in range(2000)), "where has too many filters"),
        ({"task": ["a"]}, r"filter task is \['a'\]; a text, a number, true or false expected"),
        ({"task": "\ud800"}, "filter task is .*; a text, a number"),
        ({"task": None}, "filter task is None; a text, a number"),
    ],
)
def test_it_refuses_a_filter_that_cannot_be_used(where, sentence: str):
    make("session")
    with pytest.raises(Refused, match=sentence):
        select(where)


def test_it_refuses_an_empty_selection():
    with pytest.raises(Refused, match=r"^no session matches$"):
        select("task=Fold")


def test_it_says_why_matching_sessions_cannot_be_exported():
    make("live", seconds=None)
    make("empty", frame_count=0)
    with pytest.raises(Refused, match="can be exported matches: 1 live sessions, 1 sessions without frames"):
        select("robot=arm")


def test_it_selects_by_ids():
    first, second = make("first"), make("second", hour=1)
    make("other")
    assert keys("", [second.pk, first.pk, second.pk]) == ["first", "second"]


@pytest.mark.parametrize(
    ("session_ids", "sentence"),
    [
        ([], "the list of sessions is empty"),
        ([0], "sessions has 0; ids from 1 to 2147483647 expected"),
        ([2**31], "ids from 1 to"),
        (["17"], "sessions has '17'; ids from"),
        ([True], "sessions has True; ids from"),
        ([2**31 - 1, 2**31 - 2], "there is no session 2147483646, 2147483647"),
        (range(1, 100_001), "100000 sessions are selected; at most 10000 expected"),
    ],
)
def test_it_refuses_ids_that_cannot_be_used(session_ids, sentence: str):
    with pytest.raises(Refused, match=sentence):
        select("", session_ids)


def test_it_names_the_given_sessions_that_are_live():
    ids = [make(key, seconds).pk for key, seconds in (("ended", 1), ("live-1", None), ("live-2", None))]
    with pytest.raises(Refused, match=f"end live sessions first: {ids[1]}, {ids[2]}$"):
        select("", ids)


def test_it_names_the_given_sessions_without_frames():
    ids = [make("ended").pk, make("empty", frame_count=0).pk]
    with pytest.raises(Refused, match=f"there are no frames in session {ids[1]}$"):
        select("", ids)


def test_it_refuses_filters_beside_ids():
    with pytest.raises(Refused, match="one of them expected"):
        select("task=Fold", [1])


def test_it_refuses_too_many_matching_sessions(monkeypatch):
    monkeypatch.setattr(selection, "MAX_SESSIONS", 2)
    for number in range(3):
        make(f"session-{number}")
    with pytest.raises(Refused, match="3 sessions are selected; at most 2 expected"):
        select()


def test_it_estimates_an_export(django_assert_max_num_queries):
    sessions = [make("first", 1800, frame_count=54_000), make("second", 1800, frame_count=54_000)]
    for session in sessions:
        for camera in ("front", "wrist"):
            VideoChunk.objects.create(
                session=session, robot_id="arm", camera_key=camera, start_timestamp=0, end_timestamp=1, size=10**6
            )
    selected = select("", [session.pk for session in sessions])
    with django_assert_max_num_queries(3):
        found = estimate(selected, Options())
    size = found.pop("bytes")
    assert found == {"sessions": 2, "episodes": 2, "hours": 1.0, "frames": 108_000}
    assert estimate(select(), Options(cameras=("front",)))["bytes"] == size - 2 * 10**6
    assert estimate(select(), Options(format="parquet"))["bytes"] == size - 4 * 10**6
    assert 4 * 10**6 < size < 20 * 10**6


def test_an_estimate_of_steady_time_leaves_steps_of_the_clock_out():
    make("stepped", 7200, steady_duration=timedelta(hours=1))
    assert estimate(select(), Options())["hours"] == 1.0
