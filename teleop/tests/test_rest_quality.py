"""Quality over REST: fields and filters."""

import pytest

from teleop.models import TeleopSession
from teleop.tests.recordings import make_session

pytestmark = pytest.mark.django_db

QUALITY = {
    "idle_share": 0.3,
    "jerk": 900.0,
    "fps_jitter": 0.02,
    "missing_frames": 9,
    "duration_s": 10.0,
    "duration_ratio": 1.5,
    "clock_steps": [],
}
NOTHING = dict.fromkeys(QUALITY) | {"missing_frames": 0, "clock_steps": []}


def judged(key: str, quality: dict | None) -> TeleopSession:
    session = make_session(key=key)
    TeleopSession.objects.filter(pk=session.pk).update(quality=quality)
    return session


SERVOS = {
    "servo_health": {"temperature": {"frames_over": 3, "min": 31.0, "max": 66.5}},
    "limits_ignored": ["limits is 5; an object expected"],
    "camera_faults": {"front": {"frozen": 2, "stopped": 1}},
}


@pytest.mark.parametrize("quality", [QUALITY, NOTHING, QUALITY | SERVOS, None])
def test_it_shows_quality_in_the_list_and_the_detail(viewer, quality):
    session = judged("judged-one", quality)
    assert viewer.get("/sessions").json()["results"][0]["quality"] == quality
    assert viewer.get(f"/sessions/{session.pk}").json()["quality"] == quality


def test_it_shows_the_quality_of_another_version_without_unknown_values(viewer):
    stored = {name: value for name, value in QUALITY.items() if name != "clock_steps"}
    judged("judged-one", stored | {"of_a_later_version": 1})
    assert viewer.get("/sessions").json()["results"][0]["quality"] == QUALITY


@pytest.mark.parametrize(
    "query, found",
    [
        ("max_idle_share=0.3", "good"),
        ("max_idle_share=0.29", ""),
        ("max_idle_share=1", "good poor"),
        ("max_jerk=900", "good"),
        ("max_jerk=1000", "good"),  # compared as text, 900 would come after it
        ("max_jerk=1e15", "good poor"),
        ("max_fps_jitter=0.1", "good"),
        ("max_missing_frames=9", "good nothing"),
        ("max_missing_frames=10", "good nothing poor"),
        ("min_duration_ratio=1.5", "good poor"),
        ("min_duration_ratio=2", "poor"),
        ("min_duration_ratio=0", "good poor"),
        ("max_duration_ratio=1.5", "good"),
        ("min_duration_ratio=1&max_duration_ratio=2", "good"),
        ("max_jerk=1000&min_duration_ratio=9", ""),
    ],
)
def test_it_finds_sessions(viewer, query, found):
    poor = {"idle_share": 0.9, "jerk": 10_000, "fps_jitter": 1.5, "missing_frames": 10, "duration_ratio": 10}
    judged("good", QUALITY)
    judged("poor", QUALITY | poor)
    judged("nothing", NOTHING)
    judged("not-yet", None)
    answer = viewer.get(f"/sessions?{query}")
    assert sorted(each["key"] for each in answer.json()["results"]) == found.split()


def test_it_returns_400_if_the_minimum_exceeds_the_maximum(viewer):
    answer = viewer.get("/sessions?min_duration_ratio=2&max_duration_ratio=1")
    assert answer.status_code == 400
    assert answer.json() == {
        "max_duration_ratio": ["max_duration_ratio is 1; at least min_duration_ratio (2) expected"]
    }


def test_it_returns_400_for_a_patch_of_quality(curator):
    session = judged("judged-one", QUALITY)
    assert curator.patch(f"/sessions/{session.pk}", {"quality": None}).status_code == 400
