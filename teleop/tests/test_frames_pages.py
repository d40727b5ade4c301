"""Frames page by page: those of a session, and those of a robot across its sessions."""

from datetime import timedelta

import pytest

from teleop.frames import sql
from teleop.models import TeleopFrame
from teleop.protocol import MAX_FRAME_INDEX
from teleop.tests.recordings import T0, T0_S, make_session, record

pytestmark = pytest.mark.django_db


def get(client, path, status=200):
    answer = client.get(path)
    assert answer.status_code == status, answer.content
    return answer.json()


def indexes(page):
    return [frame["frame_index"] for frame in page["results"]]


def all_pages(client, path):
    pages = []
    while path:
        pages.append(get(client, path))
        path = pages[-1]["next"]
    return pages


def test_it_returns_a_frame_as_sent(viewer):
    data = {"observation": {"z": [1, {"b": '\\ " \n ü'}], "a": None}, "extra": 1e22}
    session = make_session([7], data=lambda _: data)
    (frame,) = get(viewer, f"/sessions/{session.pk}/frames")["results"]
    assert frame == {"frame_index": 7, "timestamp": T0_S + 0.116667, **data}
    assert list(frame) == ["frame_index", "timestamp", "observation", "extra"]
    assert list(frame["observation"]) == ["z", "a"]


@pytest.mark.parametrize("microseconds", [0, 1, 999_999, 999_500])
def test_timestamps_keep_their_microseconds(viewer, microseconds):
    session = make_session([0], start=T0 + timedelta(microseconds=microseconds))
    (frame,) = get(viewer, f"/sessions/{session.pk}/frames")["results"]
    assert round(frame["timestamp"] * 10**6) == T0_S * 10**6 + microseconds


def test_pages_hold_every_frame_once(viewer):
    session = make_session([0, 1, 5, 6, 7, 20, MAX_FRAME_INDEX], start=T0)
    pages = all_pages(viewer, f"/sessions/{session.pk}/frames?limit=3")
    assert [indexes(page) for page in pages] == [[0, 1, 5], [6, 7, 20], [MAX_FRAME_INDEX]]


def test_a_range_is_half_open(viewer):
    session = make_session(range(10))
    assert indexes(get(viewer, f"/sessions/{session.pk}/frames?start=3&stop=6")) == [3, 4, 5]


def test_a_stride_uses_the_next_frame_if_one_is_missing(viewer):
    session = make_session([0, 1, 2, 3, 5, 6, 9, 10, 11, 12, 100])
    pages = all_pages(viewer, f"/sessions/{session.pk}/frames?start=1&stride=3&limit=2")
    assert [indexes(page) for page in pages] == [[1, 5], [9, 10], [100]]


def test_selected_fields_keep_their_nesting(viewer):
    session = make_session([4])
    (frame,) = get(viewer, f"/sessions/{session.pk}/frames?fields=observation.gripper.pos,action")["results"]
    assert frame["observation"] == {"gripper.pos": -4}
    assert frame["action"] == {"gripper.pos": 1}


def test_a_field_selects_all_below_it(viewer):
    session = make_session([4])
    (frame,) = get(viewer, f"/sessions/{session.pk}/frames?fields=observation.gripper")["results"]
    assert list(frame) == ["frame_index", "timestamp", "observation"]


def test_a_field_may_exist_only_in_the_last_frames(viewer):
    session = make_session([0])
    record(session, [1], lambda _: {"action": {"late": 1}})
    assert get(viewer, f"/sessions/{session.pk}/frames?fields=action.late&limit=1")["results"] == [
        {"frame_index": 0, "timestamp": T0_S}
    ]


@pytest.mark.django_db(transaction=True)  # COPY is cancelled, which would end an outer transaction too
def test_a_page_of_large_frames_ends_early(viewer, monkeypatch):
    monkeypatch.setattr(sql, "BLOCK_BYTES", 2500)
    monkeypatch.setattr("teleop.frames.keyset.BLOCK_BYTES", 2500)
    session = make_session(range(6), data=lambda _: {"observation": {"text": "x" * 1000}})
    pages = all_pages(viewer, f"/sessions/{session.pk}/frames")
    assert [index for page in pages for index in indexes(page)] == list(range(6))
    assert max(len(page["results"]) for page in pages) == 3


def test_an_empty_session_has_one_empty_page(viewer):
    session = make_session()
    assert get(viewer, f"/sessions/{session.pk}/frames?fields=a") == {"results": [], "next": None}


def test_every_page_takes_the_same_number_of_queries(viewer, django_assert_num_queries):
    session = make_session(range(50))
    for start in (0, 45):
        with django_assert_num_queries(5):  # token, permissions of the user and of the group, session, frames
            get(viewer, f"/sessions/{session.pk}/frames?limit=5&start={start}")


def test_it_pages_through_all_sessions_of_a_robot(viewer):
    make_session(range(3), start=T0 + timedelta(hours=1))
    make_session(range(2), start=T0)
    make_session(range(9), robot="leg")
    pages = all_pages(viewer, "/robots/arm/frames?limit=2")
    assert [indexes(page) for page in pages] == [[0, 1], [0, 1], [2]]
    assert [len({frame["session_id"] for frame in page["results"]}) for page in pages] == [1, 1, 1]


@pytest.mark.parametrize(
    "begin, end", [(T0_S + 2 / 60, T0_S + 4 / 60), ("2023-12-23T08:00:00.033333Z", 1703318400.066666)]
)
def test_it_filters_the_frames_of_a_robot_by_time(viewer, begin, end):
    make_session(range(10))
    make_session(range(10), start=T0 - timedelta(days=1))
    assert indexes(get(viewer, f"/robots/arm/frames?from={begin}&to={end}")) == [2, 3]


def test_it_overrides_a_session_id_in_the_data_of_a_frame(viewer):
    session = make_session([0], data=lambda _: {"observation": {}, "session_id": "mine"})
    (frame,) = get(viewer, "/robots/arm/frames")["results"]
    assert (frame["session_id"], next(iter(frame))) == (session.pk, "session_id")


def test_a_cursor_of_a_deleted_session_is_refused(viewer):
    session = make_session(range(3))
    page = get(viewer, "/robots/arm/frames?limit=1")
    session.delete()
    assert "no longer has session" in get(viewer, page["next"], 400)["cursor"][0]


BAD = {
    "limit=0": "limit is 0; an integer between 1 and 1000 expected",
    "limit=1001": "limit is 1001; an integer between 1 and 1000 expected",
    "limit=99999999999999999999999": "an integer between 1 and 1000 expected",
    "limit=1.5": "limit is 1.5; an integer between 1 and 1000 expected",
    "limit=": "limit is ; an integer between 1 and 1000 expected",
    "start=-1": "start is -1; an integer between 0 and 2147483647 expected",
    "stop=0": "stop is 0; an integer between 1 and 2147483648 expected",
    "start=5&stop=5": "stop is 5; more than start (5) expected",
    "stride=0": "stride is 0; an integer between 1 and 10000 expected",
    "after=-2": "after is -2; an integer between -1 and 2147483647 expected",
    "after=0&wait=31": "wait is 31; an integer between 0 and 30 expected",
    "wait=5": "wait is 5; allowed only with after",
    "after=0&start=3": "start is 3; not allowed with after",
    "fields=observation.nose": "fields has observation.nose; observation, observation.shoulder_pan.pos",
    "fields=a%00b": "fields has a",
    "format=csv": "format is csv; json, jsonl, parquet expected",
    "format=parquet&limit=5": "limit is 5; allowed only with format=json",
    "nonsense=1": "nonsense",
}


@pytest.mark.parametrize("query, message", BAD.items())
def test_it_returns_400_and_names_the_invalid_parameter(viewer, query, message):
    session = make_session([0])
    assert message in str(get(viewer, f"/sessions/{session.pk}/frames?{query}", 400))


BAD_TIMES = {
    "from=2023-12-24T00:00:00Z&to=2023-12-23T00:00:00Z": "later than from (2023-12-24T00:00:00+00:00) expected",
    "from=5&to=5": "later than from",
    "from=yesterday": "from is yesterday; ISO 8601",
    "from=nan": "from is nan; ISO 8601",
    "to=2023-13-45T00:00:00Z": "to is 2023-13-45T00:00:00Z; ISO 8601",
    "cursor=1": "cursor is invalid",
    "fields=observation": "unknown field fields",
}


@pytest.mark.parametrize("query, message", BAD_TIMES.items())
def test_it_returns_400_for_invalid_parameters_of_a_robots_frames(viewer, query, message):
    make_session([0])
    assert message in str(get(viewer, f"/robots/arm/frames?{query}", 400))


@pytest.mark.parametrize("path", ["/sessions/999/frames", "/sessions/99999999999/series", "/robots/nobody/frames"])
def test_it_returns_404_for_an_unknown_session_or_robot(viewer, path):
    get(viewer, path, 404)


@pytest.mark.parametrize("kind", ["frames", "series", "frames?format=jsonl"])
def test_an_outsider_reads_no_frames(outsider, arm, kind):
    session = make_session([0])
    for client in (outsider, arm):
        get(client, f"/sessions/{session.pk}/{kind}", 403)


def test_it_refuses_methods_that_write(viewer):
    session = make_session([0, 1])
    for method in ("post", "put", "patch", "delete"):
        assert getattr(viewer, method)(f"/sessions/{session.pk}/frames").status_code in (403, 405)
    assert TeleopFrame.objects.count() == 2
