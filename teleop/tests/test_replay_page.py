"""The replay's place in the list that its query selects, and the way back to this list."""

import pytest
from django.test import Client

from teleop.models import TeleopSession
from teleop.tests.recordings import T0, make_session

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(django_user_model) -> Client:
    client = Client()
    client.force_login(django_user_model.objects.create_superuser("ada"))
    return client


@pytest.fixture
def sessions() -> list[TeleopSession]:
    """Return four sessions of two robots, newest first; all of `arm` are failures."""
    robots = enumerate(["arm", "leg", "arm", "arm"], start=1)
    sessions = [make_session(robot=robot, start=T0.replace(day=day)) for day, robot in robots]
    TeleopSession.objects.filter(robot="arm").update(meta_info={"success": False})
    return sessions[::-1]


def page(client: Client, session: TeleopSession, query="") -> str:
    answer = client.get(f"/sessions/{session.pk}/replay{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_it_shows_the_place_in_the_selection_and_links_its_neighbours(staff, sessions):
    text = page(staff, sessions[1], "?robot=arm&success=false&t=2.5")
    assert ">2 of 3<" in text
    for rel, neighbour in [("prev", sessions[0]), ("next", sessions[3])]:
        assert f'rel="{rel}" href="/sessions/{neighbour.pk}/replay?robot=arm&amp;success=false"' in text


def test_it_follows_the_order_of_the_list(staff, sessions):
    text = page(staff, sessions[3], "?ordering=oldest")
    assert ">1 of 4<" in text and 'rel="prev"' not in text
    assert f'rel="next" href="/sessions/{sessions[2].pk}/replay?ordering=oldest"' in text


def test_it_keeps_the_neighbours_of_a_session_that_was_labelled_out_of_the_selection(staff, sessions):
    text = page(staff, sessions[1], "?unlabelled=true")
    assert ">not one of 1<" in text and f"/sessions/{sessions[2].pk}/replay?unlabelled=true" in text


@pytest.mark.parametrize(
    "query, back",
    {
        "": "",
        "?task=Fold+it&t=3": "?task=Fold+it",
        "?days=yesterday&from=2026-01-05T08:00:00Z&to=2026-01-06T08:00:00Z": "?days=yesterday",
        "?from=2026-01-05T08:00:00Z": "?from=2026-01-05T08%3A00%3A00Z",
    }.items(),
)
def test_the_link_back_has_the_query_of_the_list(staff, sessions, query, back):
    assert f'href="/review{back}#session-{sessions[0].pk}"' in page(staff, sessions[0], query)


def test_it_ignores_filters_that_contradict_each_other(staff, sessions):
    assert ">1 of 4<" in page(staff, sessions[0], "?from=2026-01-05T08:00:00Z&to=2026-01-04T08:00:00Z")


def test_a_session_in_the_trash_is_not_in_the_list(staff, sessions):
    TeleopSession.objects.filter(pk=sessions[2].pk).update(trashed_at=T0)
    assert f"/sessions/{sessions[2].pk}/replay" not in page(staff, sessions[1])
    assert ">not one of 3<" in page(staff, sessions[2])
