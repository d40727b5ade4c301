"""/health on a real server with a PostgreSQL or Redis that is frozen, stopped and restarted."""

import json
import time
import urllib.error
import urllib.request

import pytest

from tests.chaos.environment import postgres_database
from tests.services import Server, redis, wait_until

pytestmark = [pytest.mark.postgresql, pytest.mark.redis]


def health(server: Server, path: str = "/health") -> tuple[int, dict, float]:
    begin = time.monotonic()
    try:
        answer = urllib.request.urlopen(server.url + path, timeout=5)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, json.load(answer), time.monotonic() - begin


def ask_of_the_database(server: Server) -> int:
    request = urllib.request.Request(f"{server.url}/robots", headers={"Authorization": f"Token {'0' * 40}"})
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=15)
    return refusal.value.code


@pytest.fixture(scope="module")
def database():
    with postgres_database() as (service, _):
        yield service


@pytest.fixture(scope="module")
def channels():
    with redis() as service:
        yield service


@pytest.fixture(scope="module")
def own_server(database, channels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with Server(folder, DATABASE_URL=database.url, REDIS_URL=channels.url) as server:
        yield server


def test_it_names_a_frozen_service_within_1500_ms_and_recovers(own_server, database, channels):
    for part, service in (("database", database), ("channel_layer", channels)):
        service.freeze()
        wait_until(lambda: health(own_server)[0] == 503)
        status, report, took = health(own_server)
        assert (status, took < 1.5, part in report["detail"]) == (503, True, True)
        assert health(own_server, "/health/live")[0] == 200
        service.thaw()
        wait_until(lambda: health(own_server)[0] == 200)


@pytest.mark.long
def test_it_names_a_stopped_service_and_recovers(own_server, database, channels):
    assert ask_of_the_database(own_server) == 401  # on a connection that PostgreSQL's restart breaks
    for part, service in (("database", database), ("channel_layer", channels)):
        service.stop()
        wait_until(lambda: health(own_server)[0] == 503)
        assert health(own_server)[1]["detail"].startswith(part)
        service.start()
        wait_until(lambda: health(own_server)[0] == 200)
        assert ask_of_the_database(own_server) == 401
