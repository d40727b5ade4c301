"""Selecting sessions for an export."""

from datetime import timedelta
from typing import Any

import pytest

from datasets import selection
from datasets.options import Options
from datasets.selection import check_cameras, check_rates, estimate, select
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
    assert 4 * 10**6 < size < 20 * 10**6


def test_an_estimate_of_steady_time_leaves_steps_of_the_clock_out():
    make("stepped", 7200, steady_duration=timedelta(hours=1))
    assert estimate(select(), Options())["hours"] == 1.0


def test_an_estimate_of_parquet_has_no_films_and_has_the_temporary_values(monkeypatch):
    """Of 460 bytes of JSON, 24 values have 192 bytes in the temporary parts, and 46 in the file."""
    monkeypatch.setattr(selection, "newest_data_bytes", lambda: 460.0)
    film(make("session", frame_count=1000), "front")
    assert estimate(select(), Options(format="parquet"))["bytes"] == pytest.approx(1000 * (192 + 46 + 34), rel=0.03)


def film(session: TeleopSession, camera: str) -> None:
    times = {"start_timestamp": 0, "end_timestamp": 1}
    VideoChunk.objects.create(session=session, robot_id=session.robot_id, camera_key=camera, size=10**6, **times)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Options(), "fps is 30 in session {0}, 60 in session {2}; one rate expected: give fps, at most 30"),
        (Options(fps=31), "fps is 31; at most 30 expected, the fps of session {0}"),
        (Options(split_by="robot"), "fps is 30 in session {0}, 60 in session {2}; one rate expected"),
    ],
)
def test_it_refuses_rates_that_make_no_dataset(options, sentence: str, django_assert_num_queries):
    rates = [("arm", 30), ("arm", 30), ("arm", 60), ("leg", 50)]
    ids = [make(f"{pk}", 90, robot, fps=fps).pk for pk, (robot, fps) in enumerate(rates)]
    sessions = select("", ids[: 4 if options.split_by else 3])
    with django_assert_num_queries(1), pytest.raises(Refused, match=sentence.format(*ids)):
        check_rates(sessions, options)


@pytest.mark.parametrize("options", [Options(fps=30), Options(split_by="robot"), Options(format="mcap")])
def test_it_accepts_rates_that_make_a_dataset(options):
    make("arm", fps=30), make("leg", robot="leg", fps=60)
    check_rates(select("min_duration=1"), options)


def test_it_refuses_cameras_that_no_session_has():
    film(make("first"), "front"), film(make("other", robot="leg"), "wrist")
    check_cameras(select(), Options(cameras=("observation.images.front", "wrist")))
    with pytest.raises(Refused, match="no session has a film of camera wrist; cameras of these sessions: front"):
        check_cameras(select("robot=arm"), Options(cameras=("wrist",)))
