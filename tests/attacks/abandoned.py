"""A hundred slow requests of clients that disconnect: all connections return to the pool once the statements end."""

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import requests

from tests.attacks.victim import victim
from tests.bench.serving import shell
from tests.chaos.environment import postgres_database, serving
from tests.services import Server, wait_until

LOGINS = """
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.auth import SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY
from rest_framework.authtoken.models import Token
user = User.objects.create_superuser("admin")
login = SessionStore()
login.update({
    SESSION_KEY: user.pk,
    BACKEND_SESSION_KEY: "robots.api.authentication.LoginBackend",
    HASH_SESSION_KEY: user.get_session_auth_hash(),
})
login.save()
print(Token.objects.create(user=user).key, login.session_key)
"""
KINDS = {  # requests while the table is locked; the victim's frames need none of these tables
    "auth_user": ["/sessions", "/sessions/1/frames?format=parquet", "/sessions/1/series", "/admin/", "/fleet"] * 2,
    "django_session": ["/admin/", "/admin/teleop/teleopsession/", "/admin/robots/robot/", "/fleet", "/sessions"] * 2,
    "videos_videochunk": ["/videos", "/videos?session=1", "/admin/videos/videochunk/", "/videos/1"] * 3,
}
ROUNDS = 4
KILLED_S = 13  # Daphne cancels a request 10 s after its client has disconnected, and then each second
BACK_S = 1
POOL_SIZE = 4


def fetch(server: Server, path: str, headers: dict[str, str]) -> socket.socket:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    client = socket.create_connection(("127.0.0.1", server.port))
    client.sendall("\r\n".join([*lines, "", ""]).encode())
    return client


@contextmanager
def locked(table: str, url: str) -> Iterator[psycopg.Connection]:
    """Block every statement that reads the table; yield a connection to count the blocked ones."""
    with psycopg.connect(url) as locker, psycopg.connect(url, autocommit=True) as other:
        locker.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield other
        locker.rollback()


def waiting(other: psycopg.Connection) -> int:
    return other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0]


def test_abandoned_requests_release_every_database_connection():
    with postgres_database() as (_, url), serving(url) as server:
        key, session = shell(LOGINS, os.environ | {"DATABASE_URL": url}).split()
        token, cookies = {"Authorization": f"Token {key}"}, {"Cookie": f"sessionid={session}"}
        with victim(server) as suffered:
            killed_s = KILLED_S  # only once
            for table, paths in list(KINDS.items()) * ROUNDS:
                with locked(table, url) as other:
                    cookie_alone = table == "django_session"
                    tabs = [fetch(server, path, cookies if cookie_alone else cookies | token) for path in paths]
                    wait_until(lambda: waiting(other) >= POOL_SIZE, what="statements that wait")
                    for tab in tabs:
                        tab.close()
                    time.sleep(killed_s)
                killed_s = 0
                with ThreadPoolExecutor() as threads:
                    began = time.monotonic()
                    answers = threads.map(
                        lambda _: requests.get(f"{server.url}/robots", headers=token, timeout=5), range(POOL_SIZE)
                    )
                    assert [answer.status_code for answer in answers] == [200] * POOL_SIZE
                    assert time.monotonic() - began < BACK_S
    assert suffered[0].is_fine()
