"""GET /statistics: hours, episodes and success rates by day, task, operator and robot."""

from datetime import UTC, datetime, timedelta

import pytest

from datasets.fleet_statistics import query
from teleop.models import TeleopSession
from teleop.tests.recordings import make_session

pytestmark = pytest.mark.django_db
EVENING = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)  # the next day in Berlin
LABELS = {"task": "Fold", "operator": "ada", "success": True}


def recorded(key: str, start=EVENING, hours=0.5, robot="arm", frames=1, meta=LABELS, **fields) -> None:
    session = make_session(robot=robot, start=start, key=key)
    fields = {"end_time": start + timedelta(hours=hours)} | fields
    TeleopSession.objects.filter(pk=session.pk).update(frame_count=frames, meta_info=meta, **fields)


def read(client, parameters="") -> dict:
    answer = client.get(f"/statistics?{parameters}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def column(client, name: str, parameters: str) -> list:
    return [row[name] for row in read(client, parameters)["rows"]]


def test_it_counts_hours_episodes_and_labels_by_day(viewer):
    recorded("a")
    recorded("b", hours=1, meta=LABELS | {"success": False})
    recorded("c", hours=0.25, meta=None)
    counts = {"hours": 1.75, "episodes": 3, "success": 1, "failure": 1, "success_rate": 0.5}
    answer = {"from": None, "to": None, "time_zone": "UTC", "by": ["day"], "total": counts}
    assert read(viewer) == answer | {"rows": [{"day": "2026-11-22"} | counts]}


def test_it_groups_by_several_labels_newest_day_and_most_hours_first(viewer):
    recorded("a")
    recorded("b", robot="leg", hours=2)
    recorded("c", start=EVENING + timedelta(days=1), meta={"task": "Sort"})
    rows = read(viewer, "by=day,task,operator,robot")["rows"]
    assert [list(row.values())[:4] for row in rows] == [
        ["2026-11-23", "Sort", None, "arm"],
        ["2026-11-22", "Fold", "ada", "leg"],
        ["2026-11-22", "Fold", "ada", "arm"],
    ]


@pytest.mark.parametrize(
    "zone, day", [("", "2026-11-22"), ("Europe/Berlin", "2026-11-23"), ("Asia/Kolkata", "2026-11-23")]
)
def test_a_session_belongs_to_the_day_of_the_time_zone(viewer, zone, day):
    recorded("a")
    assert column(viewer, "day", f"time_zone={zone}") == [day]
    assert column(viewer, "day", f"time_zone={zone}&from={day}&to={day}") == [day]


@pytest.mark.parametrize("start, days", [("22:59:59", 1), ("23:00:00", 2)])
def test_the_days_follow_daylight_saving_time(viewer, start, days):
    """In Berlin the night to 2026-10-25 has 25 hours: that day ends at 23:00 UTC."""
    recorded("a", start=datetime.fromisoformat(f"2026-10-25T{start}Z"))
    recorded("b", start=datetime(2026, 10, 24, 22, tzinfo=UTC))
    assert len(column(viewer, "day", "time_zone=Europe/Berlin")) == days


def test_it_leaves_steps_of_the_clock_out_of_the_hours(viewer):
    recorded("a", hours=8761, steady_duration=timedelta(minutes=6))
    assert column(viewer, "hours", "") == [0.1]


def test_it_ignores_live_sessions_and_sessions_without_frames(viewer):
    recorded("live", end_time=None)
    recorded("empty", frames=0)
    assert read(viewer)["total"] == {"hours": 0, "episodes": 0, "success": 0, "failure": 0, "success_rate": None}


@pytest.mark.parametrize("value", ["", 5, None, ["Fold"], {"a": 1}, True])
def test_a_label_that_is_not_a_text_counts_as_none(viewer, value):
    recorded("a", meta={"task": value, "success": "yes"})
    recorded("b", meta=["task"])
    row = read(viewer, "by=task")["rows"][0]
    assert (row["task"], row["episodes"], row["success_rate"]) == (None, 2, None)


@pytest.mark.parametrize(
    "parameters, episodes",
    [
        ("task=Fold", 1),
        ("operator=ada&success=true", 1),
        ("robot=leg", 1),
        ("tag=towel", 1),
        ("min_duration=3000", 1),
        ("from=2026-11-23", 1),
        ("to=2026-11-22", 1),
        ("from=2026-11-22&to=2026-11-23", 2),
        ("from=0001-01-01&to=9999-12-31&time_zone=Asia/Tokyo", 2),
    ],
)
def test_it_applies_the_filters_of_the_sessions_list(viewer, parameters, episodes):
    recorded("a")
    recorded("b", start=EVENING + timedelta(days=1), robot="leg", hours=1, meta={"tags": ["towel"]})
    assert read(viewer, parameters)["total"]["episodes"] == episodes


@pytest.mark.parametrize(
    "parameters, says",
    [
        ("robto=arm", "unknown parameter robto"),
        ("limit=5", "unknown parameter limit"),
        ("live=true", "unknown parameter live"),
        ("from=", "from is empty"),
        ("from=2026-11-22T00:00:00Z", "Enter a valid date"),
        ("from=2026-11-23&to=2026-11-22", "to is 2026-11-22; from (2026-11-23) or a later day expected"),
        ("time_zone=Mars", "time_zone is Mars; a name of the IANA database such as Europe/Berlin expected"),
        ("time_zone=../x", "time_zone is ../x"),
        ("by=day,week", "by is day,week; day, task, operator, robot expected, not week"),
        ("success=yes", "not one of the available choices"),
    ],
)
def test_it_refuses_an_invalid_parameter_and_names_it(viewer, parameters, says):
    answer = viewer.get(f"/statistics?{parameters}")
    assert answer.status_code == 400 and says in str(answer.json())


def test_it_refuses_more_rows_than_its_limit(viewer, monkeypatch):
    monkeypatch.setattr(query, "MAX_ROWS", 1)
    recorded("a")
    recorded("b", robot="leg")
    assert "by day,robot gives more than" in viewer.get("/statistics?by=day,robot").json()["by"][0]
    assert viewer.get("/statistics?by=day").status_code == 200


def test_it_reads_the_sessions_in_one_query(viewer, django_assert_max_num_queries):
    for number in range(3):
        recorded(f"s-{number}", start=EVENING + timedelta(days=number))
    with django_assert_max_num_queries(7) as queries:  # the others are for the token, and a transaction
        read(viewer, "by=day,task,operator,robot")
    assert sum("teleop_teleopsession" in query["sql"] for query in queries) == 1


def test_it_needs_the_permission_to_view_sessions(anonymous, outsider, arm):
    assert [client.get("/statistics").status_code for client in (anonymous, outsider, arm)] == [401, 403, 403]
