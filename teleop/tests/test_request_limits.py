"""The limit on long requests at a time, and the release of their places."""

import gc
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser, User

from robots.models import Robot
from teleop.frames import request_limits
from teleop.frames.export import working
from teleop.frames.request_limits import Held, RequestLimit, TooManyAtATime
from teleop.tests.recordings import make_session


def request_of(user=None, auth=None, address="10.0.0.7"):
    return SimpleNamespace(user=user or AnonymousUser(), auth=auth, META={"REMOTE_ADDR": address}, headers={})


ADA, BOB = request_of(User(pk=1)), request_of(User(pk=2))


@pytest.fixture
def limit(settings) -> RequestLimit:
    """Return a limit of two for each client and three in all."""
    settings.DOWNLOADS_PER_USER, settings.DOWNLOADS_PER_WORKER = 2, 3
    return RequestLimit("downloads", "downloads", "DOWNLOADS_PER_USER", "DOWNLOADS_PER_WORKER")


def test_it_limits_requests_per_client_and_per_worker(limit):
    places = [limit.take(ADA), limit.take(ADA)]
    with pytest.raises(TooManyAtATime, match=r"you already have 2 downloads, the maximum \(DOWNLOADS_PER_USER\)"):
        limit.take(ADA)
    places.append(limit.take(BOB))
    with pytest.raises(TooManyAtATime, match=r"already has 3 downloads, the maximum \(DOWNLOADS_PER_WORKER\)"):
        limit.take(BOB)
    places[0].release()
    places[0].release()  # the second release has no effect
    places.append(limit.take(BOB))
    with pytest.raises(TooManyAtATime):
        limit.take(ADA)


def test_it_frees_a_place_that_is_garbage_collected(limit):
    for _ in range(5):
        limit.take(ADA)
    gc.collect()
    assert limit.take(ADA)


def test_it_frees_a_place_when_its_response_is_closed(limit):
    responses = [Held((), limit.take(ADA)), Held((), limit.take(ADA))]
    responses[0].close()
    assert limit.take(ADA)


def test_it_counts_robots_users_and_anonymous_addresses_separately(limit):
    robot = Robot(pk="1")
    clients = [ADA, request_of(robot, robot), request_of()]
    assert [limit.take(client) for client in clients]
    assert len({request_limits._client_of(client) for client in [*clients, request_of(address="10.0.0.8")]}) == 4


@pytest.mark.django_db
def test_it_returns_503_for_a_plot_that_waits_too_long(viewer, monkeypatch):
    monkeypatch.setattr(request_limits, "MAX_WAIT_TO_WORK_S", 0.01)
    session = make_session([0])
    with working:
        answer = viewer.get(f"/sessions/{session.pk}/series")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert viewer.get(f"/sessions/{session.pk}/series").status_code == 200
