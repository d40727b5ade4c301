"""Requests that wait for the database: answers to other requests meanwhile, and after their clients disconnected."""

import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
import requests
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from rest_framework.authtoken.models import Token

from tests.chaos.environment import serving
from tests.robot_socket import bystander, register
from tests.services import Server, wait_until

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]
POOL_SIZE = settings.DATABASES["default"]["OPTIONS"].get("pool", {}).get("max_size")
STATEMENT_TIMEOUT_MS = 3_500  # longer than it takes until Daphne has cancelled a request three times


def database_url() -> str:
    return f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{connection.settings_dict['NAME']}"


@pytest.fixture(scope="module")
def server(django_db_setup: None) -> Iterator[Server]:
    url = f"{database_url()}?options=-c%20statement_timeout%3D{STATEMENT_TIMEOUT_MS}ms"
    with serving(url, how="kill_applications_soon", REDIS_URL=settings.REDIS_URL, ROBOT_AUTH="key") as server:
        yield server


@pytest.fixture
def headers(server: Server) -> dict[str, str]:
    return {"Authorization": f"Token {Token.objects.create(user=User.objects.create_superuser('admin'))}"}


@contextmanager
def locked_table(name: str) -> Iterator[None]:
    """Lock the table, so that every statement that reads it waits."""
    with psycopg.connect(database_url()) as other:
        other.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


@contextmanager
def tabs(server: Server, path: str, headers: dict[str, str]) -> Iterator[Callable[[], int]]:
    """Open as many tabs as the pool has connections, and close them at the end; yield how many statements wait."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(POOL_SIZE)]
    try:
        for client in clients:
            client.sendall("\r\n".join([*lines, "", ""]).encode())
        wait_until(lambda: waiting() == POOL_SIZE, what="statements that wait")
        yield waiting
    finally:
        for client in clients:
            client.close()


def waiting() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0]


def test_closed_tabs_release_their_database_connections(server: Server, headers: dict[str, str]):
    register("bystander")
    with bystander(server), locked_table("videos_videochunk"):
        with tabs(server, "/videos", headers):
            pass
        wait_until(lambda: "took too long to shut down" in server.output(), what="Daphne gives them up")
        wait_until(lambda: waiting() == 0, what="the statements have ended")
        for _ in range(2 * POOL_SIZE):
            assert requests.get(f"{server.url}/robots", headers=headers, timeout=2).status_code == 200


@pytest.mark.long
def test_it_returns_503_if_all_database_connections_are_in_use(server: Server, headers: dict[str, str]):
    def health() -> dict:
        return requests.get(f"{server.url}/health", timeout=2).json()

    with ThreadPoolExecutor() as threads, locked_table("videos_videochunk"), tabs(server, "/videos", headers):
        api = threads.submit(requests.get, f"{server.url}/robots", headers=headers, timeout=5)
        page = threads.submit(requests.get, f"{server.url}/admin/", cookies={"sessionid": "an old one"}, timeout=5)
        wait_until(lambda: health()["requests"] == "all 4 database connections are in use")
        assert (health()["status"], health()["database"]) == ("unavailable", "ok")
        answers = [api.result(), page.result()]
    for answer in answers:
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "all 4 are in use" in answer.text
    counted = requests.get(f"{server.url}/metrics", timeout=5).text
    assert 'teleop_requests_refused_total{code="no_connection"} 2.0' in counted
