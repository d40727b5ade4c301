"""A robot's clock steps within a session: durations stay plausible, and every frame is found by its time."""

import itertools
import json
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from rest_framework.authtoken.models import Token

from tests.robot_socket import T0, frame, register, robot_socket
from tests.services import Server, wait_until

HOUR, YEAR = 3600, 365 * 86400
FRAMES, STEP_AT = 120, 60  # 2 s; the clock steps between frames 59 and 60
# By robot: when its clock begins, and by how much it steps.
CLOCKS = {
    "right": (T0, 0),
    "back": (T0, -2 * HOUR),  # NTP after the robot's start
    "back_while_away": (T0, -5),
    "ahead": (T0, YEAR),
    "year_behind_at_first": (T0 - YEAR, YEAR),
}
Answer = Callable[..., dict]
each_clock = pytest.mark.parametrize("robot_id", CLOCKS)


def timestamp(robot_id: str, index: int) -> float:
    begin, step_s = CLOCKS[robot_id]
    return begin + index / 60 + (step_s if index >= STEP_AT else 0)


def window(robot_id: str, index: int) -> dict[str, str]:
    """Return a range of times that holds only this frame."""
    at = timestamp(robot_id, index)
    ends = (datetime.fromtimestamp(seconds, UTC).isoformat() for seconds in (at - 0.001, at + 0.001))
    return dict(zip(("from", "to"), ends, strict=True))


@pytest.fixture
def get(server: Server) -> Answer:
    """Return a function: `get("/sessions", robot="back")`."""
    token = Token.objects.create(user=User.objects.create_superuser("admin"))

    def get(path: str, **query) -> dict:
        url = f"{server.url}{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, headers={"Authorization": f"Token {token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    return get


@pytest.fixture
def session(server: Server, get: Answer, robot_id: str) -> dict:
    """Record a session, on two connections if the clock steps while the robot is away."""
    register(robot_id)
    middle = STEP_AT if robot_id == "back_while_away" else 0
    for part in filter(None, (range(middle), range(middle, FRAMES))):
        with robot_socket(server, f"{robot_id}?session=recording") as robot:
            robot.send({"type": "start", "fps": 60})
            robot.send(*[frame(index, timestamp=timestamp(robot_id, index)) for index in part])
            robot.send({"type": "end"})
            robot.receive("ended")
    return get(f"/sessions/{robot.greeting['session_id']}")


@each_clock
def test_a_session_reports_its_ends_its_duration_and_the_step(session: dict, robot_id: str):
    times = [timestamp(robot_id, index) for index in range(FRAMES)]
    ends = [datetime.fromisoformat(session[name]).timestamp() for name in ("start_time", "end_time")]
    assert ends == pytest.approx([min(times), max(times)], abs=1e-5)
    assert session["duration_s"] == pytest.approx((FRAMES - 1) / 60, abs=1e-3)
    assert session["effective_fps"] == pytest.approx(60, abs=0.1)
    step_s = CLOCKS[robot_id][1]
    step = {"frame_index": STEP_AT, "before": times[STEP_AT - 1], "timestamp": times[STEP_AT], "step_s": step_s}
    assert session["clock_steps"] == ([pytest.approx(step, abs=1e-3)] if step_s else [])


@each_clock
def test_filters_find_every_frame_by_time_and_the_session_by_duration(get: Answer, session: dict, robot_id: str):
    for index in (0, STEP_AT - 1, STEP_AT, FRAMES - 1):
        times = window(robot_id, index)
        assert [each["id"] for each in get("/sessions", **times)["results"]] == [session["id"]]
        assert [each["frame_index"] for each in get(f"/robots/{robot_id}/frames", **times)["results"]] == [index]
    assert get("/sessions", min_duration=1.9, max_duration=2.1)["count"] == 1


@pytest.mark.once
@each_clock
def test_frames_come_by_index_and_plots_give_each_frame_room(get: Answer, session: dict, robot_id: str):
    frames = get(f"/sessions/{session['id']}/frames", limit=1000)["results"]
    assert [each["frame_index"] for each in frames] == list(range(FRAMES))
    picture = get(f"/sessions/{session['id']}/series")
    times = picture["series"][0]["timestamps"]
    assert [b - a for a, b in itertools.pairwise(times)] == pytest.approx([1 / 60] * (FRAMES - 1), abs=1e-4)
    assert picture["gaps"] == []
    part = get(f"/sessions/{session['id']}/series", start=STEP_AT)
    assert part["series"][0]["timestamps"] == times[STEP_AT:]


@pytest.mark.once
@each_clock
def test_quality_reports_the_step_and_finds_the_same_times(get: Answer, session: dict):
    call_command("quality", session=[session["id"]])
    judged = get(f"/sessions/{session['id']}")
    quality = judged["quality"]
    computed = dict.fromkeys(("quality", "sparkline", "updated_at"))
    assert judged | computed == session | computed
    assert quality["clock_steps"] == session["clock_steps"]
    assert quality["duration_s"] == pytest.approx(session["duration_s"], abs=1e-5)
    assert quality["fps_jitter"] < 0.01


def test_it_finds_a_live_session_by_times_before_its_start(server: Server, get: Answer):
    register("back")
    with robot_socket(server, "back") as robot:
        robot.send(*[frame(index, timestamp=timestamp("back", index)) for index in range(FRAMES)])
        robot.receive_until_ack(FRAMES - 1)
        times = window("back", FRAMES - 1)
        wait_until(lambda: get("/sessions", live="true", **times)["count"], what="the next heartbeat")
