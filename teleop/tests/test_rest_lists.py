"""Lists of sessions stay small with any meta_info that robots send."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from teleop.api.serializers import as_listed
from teleop.models import TeleopSession
from teleop.tests.recordings import make_session

pytestmark = pytest.mark.django_db


def session_with(meta_info) -> TeleopSession:
    session = make_session(key="with-meta-info")
    TeleopSession.objects.filter(pk=session.pk).update(meta_info=meta_info)
    return session


def listed(client) -> tuple:
    (found,) = client.get("/sessions").json()["results"]
    return found["meta_info"], found["meta_info_left_out"]


@pytest.mark.parametrize("meta_info", [None, {}, {"task": "Fold", "nested": [1, {"a": None}]}, {"note": "x" * 4000}])
def test_small_meta_info_is_listed(viewer, meta_info):
    session_with(meta_info)
    assert listed(viewer) == (meta_info, False)


@pytest.mark.parametrize(
    "meta_info", [{"note": "x" * 4096}, {f"key {number}": number * 7919 % 1009 for number in range(4000)}]
)
def test_it_shows_large_meta_info_only_in_the_session_detail(viewer, meta_info):
    session = session_with(meta_info)
    assert listed(viewer) == (None, True)
    detail = viewer.get(f"/sessions/{session.pk}").json()
    assert detail["meta_info"] == meta_info and "meta_info_left_out" not in detail


def test_it_omits_large_meta_info_from_a_robots_status(viewer):
    session = session_with({"note": "x" * 4096})
    (found,) = viewer.get(f"/robots/{session.robot_id}/status").json()["last_sessions"]
    assert (found["meta_info"], found["meta_info_left_out"]) == (None, True)


def test_it_does_not_read_omitted_meta_info_from_the_database(viewer):
    session_with({"note": "x" * 4096})
    assert as_listed(TeleopSession.objects.all()).get().get_deferred_fields() >= {"meta_info", "label_tags"}
    with CaptureQueriesContext(connection) as queries:
        viewer.get("/sessions")
    assert sum('FROM "teleop_teleopsession"' in query["sql"] for query in queries) == 1


def test_it_filters_by_omitted_meta_info(viewer):
    session = session_with({"task": "Fold", "note": "x" * 4096})
    assert viewer.get("/sessions?task=Fold").json()["results"][0]["id"] == session.pk
