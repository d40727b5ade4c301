"""Pages of exports and hours: who sees them; and the links to a new export."""

import pytest

from datasets.models import Export
from robots.tests.admin_clients import shown
from teleop.admin import sessions as sessions_admin
from teleop.models import TeleopSession
from teleop.tests.recordings import make_session

pytestmark = [pytest.mark.django_db, pytest.mark.once]
SESSIONS = "/admin/teleop/teleopsession/"
NEW = "/exports/new"


def export(client, query: str, *sessions: TeleopSession, **more) -> str | None:
    """Choose the action of the list, and return the address to which it redirects."""
    chosen = [session.pk for session in sessions]
    answer = client.post(f"{SESSIONS}?{query}", {"action": "export", "_selected_action": chosen} | more)
    return answer.headers.get("Location")


@pytest.mark.parametrize("path", ["/hours", "/exports/list", NEW, "/exports/{pk}/view"])
def test_the_pages_need_their_permissions(staff_outsider, staff_viewer, staff_curator, client, path):
    path = path.format(pk=Export.objects.create(name="towels").pk)
    expected = [302, 403, 403 if path == NEW else 200, 200]
    assert [who.get(path).status_code for who in (client, staff_outsider, staff_viewer, staff_curator)] == expected


def test_it_returns_404_for_an_unknown_export(staff_viewer):
    assert staff_viewer.get("/exports/7/view").status_code == 404


def test_the_list_of_exports_does_not_hide_the_one_of_rest(staff_viewer):
    assert staff_viewer.get("/exports").json()["count"] == 0


def test_it_exports_chosen_sessions_by_their_ids(staff_curator):
    first, second, _ = (make_session(range(2)) for _ in range(3))
    assert export(staff_curator, "", second, first) == f"{NEW}?sessions={first.pk}%2C{second.pk}"


def test_it_exports_all_sessions_of_a_list_by_its_filters(staff_curator):
    session = make_session(range(2))
    query = "robot=arm&task=&o=1&from=2023-01-01T00:00:00Z"
    expected = f"{NEW}?robot=arm&from=2023-01-01T00%3A00%3A00Z"
    assert export(staff_curator, query, session, select_across="1") == expected


def test_it_exports_all_sessions_of_a_search_by_their_ids(staff_curator):
    session = make_session(range(2))
    assert export(staff_curator, "q=arm", session, select_across="1") == f"{NEW}?sessions={session.pk}"


def test_it_refuses_a_list_of_ids_that_is_too_long(staff_curator, monkeypatch):
    monkeypatch.setattr(sessions_admin, "MOST_EXPORTED", 1)
    sessions = [make_session(range(2)) for _ in range(2)]
    assert export(staff_curator, "q=arm", *sessions) == f"{SESSIONS}?q=arm"
    assert "2 sessions are selected; at most 1 expected" in shown(staff_curator.get(SESSIONS))


def test_the_list_of_sessions_links_an_export_of_its_filters(staff_curator):
    assert f'href="{NEW}?success=true"' in shown(staff_curator.get(f"{SESSIONS}?success=true&o=1"))
    assert f'href="{NEW}' not in shown(staff_curator.get(f"{SESSIONS}?q=arm"))


def test_a_viewer_is_offered_no_export(staff_viewer):
    session = make_session(range(2))
    for path in (SESSIONS, f"/sessions/{session.pk}/replay", "/exports/list"):
        assert "Export…" not in shown(staff_viewer.get(path)) and NEW not in shown(staff_viewer.get(path))


def test_the_replay_links_an_export_of_an_ended_session(staff_curator):
    ended, live = make_session(range(2)), make_session(range(2), is_live=True)
    assert f'href="{NEW}?sessions={ended.pk}"' in shown(staff_curator.get(f"/sessions/{ended.pk}/replay"))
    assert NEW not in shown(staff_curator.get(f"/sessions/{live.pk}/replay"))
