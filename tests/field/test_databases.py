"""Databases as people have them: encodings, styles, roles, poolers and addresses, on one PostgreSQL."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import CommandError
from django.db import ConnectionHandler, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from config.env import database_settings
from teleop import checks
from teleop.management.commands import serve
from teleop.monitoring.database import STORING, problem
from tests.chaos.environment import migrated
from tests.pgbouncer import TRANSACTION_MODE, pgbouncer
from tests.robot_socket import T0, frame, robot_socket
from tests.services import ROOT, Postgres, Server, free_port, postgres, wait_until

pytestmark = pytest.mark.once

PASSWORD = "p@ss:/word"
ENCODED = "p%40ss%3A%2Fword"
ENCODINGS = {"sql_ascii": "SQL_ASCII", "latin1": "LATIN1"}
# What initdb, a distribution or an administrator may have chosen.
CHOICES = {
    "DateStyle": "'German, DMY'",
    "TimeZone": "'Asia/Kolkata'",
    "IntervalStyle": "'sql_standard'",
    "default_transaction_isolation": "'repeatable read'",
    "bytea_output": "'escape'",
    "statement_timeout": "'2s'",
}


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """Yield a cluster with a migrated database `teleop` of a role that is no superuser and has a password."""
    with postgres() as service:
        (service.folder / "data/pg_hba.conf").write_text(
            "local all all trust\nhost all postgres all trust\nhost all all all scram-sha-256\n"
        )
        service.execute("SELECT pg_reload_conf()")
        service.execute(f"CREATE ROLE teleop LOGIN PASSWORD '{PASSWORD}'")
        service.execute("CREATE DATABASE teleop OWNER teleop")
        for name, encoding in ENCODINGS.items():
            service.execute(
                f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            )
        for name, value in CHOICES.items():
            service.execute(f"ALTER DATABASE teleop SET {name} = {value}")
        migrated(url_of(service))
        yield service


@pytest.fixture(scope="module")
def server(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"DATABASE_URL": url_of(database), "REDIS_URL": "", "ROBOT_AUTH": "open"}
    server = Server(tmp_path_factory.mktemp("server"), **settings)
    yield server.start()
    server.stop()


@pytest.fixture(autouse=True)
def _without_a_test_database(django_db_blocker) -> Iterator[None]:
    """Let tests connect; `serve.check_database` leaves its own connection where other tests' code finds theirs."""
    before = connections["default"]
    with django_db_blocker.unblock():
        yield
    connections["default"] = before


@pytest.fixture(autouse=True)
def _show_the_log(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "server" in request.fixturenames:
        print(request.getfixturevalue("server").output())  # noqa: T201 - pytest shows it if the test failed


def url_of(database: Postgres, host: str = "", name: str = "teleop", scheme: str = "postgresql") -> str:
    return f"{scheme}://teleop:{ENCODED}@{host or f'127.0.0.1:{database.port}'}/{name}"


def wrapper(url: str) -> BaseDatabaseWrapper:
    return ConnectionHandler({"default": database_settings(url, ROOT)})["default"]


@contextmanager
def without(database: Postgres, privilege: str, table: str) -> Iterator[None]:
    database.execute(f"REVOKE {privilege} ON {table} FROM teleop", "teleop")
    try:
        yield
    finally:
        database.execute(f"GRANT {privilege} ON {table} TO teleop", "teleop")


def refusal_of(url: str) -> str:
    with pytest.raises(CommandError) as refused:
        serve.check_database(wrapper(url))
    return str(refused.value)


def get(server: Server, path: str) -> tuple[int, dict]:
    try:
        answer = urllib.request.urlopen(server.url + path, timeout=10)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, json.load(answer)


def health(server: Server) -> tuple[int, str]:
    status, report = get(server, "/health")
    return status, report["detail"]


@pytest.mark.parametrize("name", ENCODINGS)
def test_it_refuses_an_encoding_that_cannot_store_every_text(database: Postgres, name: str, monkeypatch):
    sentence = refusal_of(database.database_url(name))
    assert sentence.startswith(f"the database of DATABASE_URL cannot be used: the encoding is {ENCODINGS[name]}")
    assert "UTF8 expected; createdb --encoding=UTF8 --template=template0" in sentence
    monkeypatch.setattr(checks, "connections", {"default": wrapper(database.database_url(name))})
    (error,) = checks.check_encoding(databases=["default"])  # as `migrate` does
    assert (error.id, error.is_serious()) == ("teleop.E002", True)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://teleop:{password}@127.0.0.1:{port}/teleop",
        "postgres://teleop:{password}@localhost:{port}/teleop?sslmode=prefer&application_name=robots",
        "postgresql://teleop:p@ss%3A%2Fword@127.0.0.1:{port}/teleop",
        "postgresql://teleop:{password}@127.0.0.1:1,127.0.0.1:{port}/teleop?target_session_attrs=read-write",
        "postgresql://teleop@{socket}:{port}/teleop",
        "postgresql:///teleop?host={folder}&port={port}&user=teleop",
        "postgresql://127.0.0.1:{port}/teleop?user=teleop&password={password}&options=-c%20work_mem%3D8MB",
    ],
)
def test_it_serves_at_every_form_of_an_address(database: Postgres, address: str):
    folder = str(database.folder)
    socket = folder.replace("/", "%2F")
    url = address.format(password=ENCODED, port=database.port, folder=folder, socket=socket)
    assert serve.check_database(wrapper(url)) is None


@pytest.mark.parametrize(
    "change, printed",
    [
        (("teleop:", "teleop:not"), 'password authentication failed for user "teleop"'),
        ((f":{ENCODED}", ""), "no password supplied"),
        (("//teleop:", "//stranger:"), 'password authentication failed for user "stranger"'),
        (("/teleop", "/none"), 'database "none" does not exist'),
        (("/teleop", "/teleop?sslmode=require"), "server does not support SSL, but SSL was required"),
        (("/teleop", "/teleop?sslmode=maybe"), 'invalid sslmode value: "maybe"'),
        (("/teleop", "/teleop?options=-c%20nothing%3D1"), 'unrecognized configuration parameter "nothing"'),
        (("/teleop", "/teleop?options=-c%20lock_timeout%3Dx"), 'invalid value for parameter "lock_timeout"'),
    ],
)
def test_it_reports_a_wrong_setting_in_one_line(database: Postgres, change: tuple[str, str], printed: str):
    old, new = change
    at = url_of(database).rpartition(old)
    sentence = refusal_of(f"{at[0]}{new}{at[2]}")
    assert sentence.startswith("the database of DATABASE_URL cannot be used: ")
    assert printed in sentence and "correct DATABASE_URL" in sentence
    assert "\n" not in sentence and "ss:/word" not in sentence and "ss%3A" not in sentence


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid", "%2Fno%2Fsuch%2Ffolder"])
def test_an_outage_is_no_wrong_setting(database: Postgres, host: str):
    found = serve.check_database(wrapper(url_of(database, host)))
    assert found and found.is_temporary


@pytest.mark.parametrize(
    "privilege, table, is_needed_to_store",
    [
        ("INSERT", "teleop_teleopframe", True),
        ("SELECT", "robots_robot", True),
        ("UPDATE", "teleop_teleopsession", True),
        ("INSERT", "videos_videochunk", False),
        ("SELECT", "django_migrations", False),
    ],
)
def test_it_names_a_missing_privilege(database: Postgres, privilege: str, table: str, is_needed_to_store: bool):
    with without(database, privilege, table):
        sentence = refusal_of(url_of(database))
        found = problem(wrapper(url_of(database)), STORING)  # as /health does
    assert f"cannot be used: the role has no privilege {privilege} on {table}; " in sentence
    assert sentence.endswith("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO teleop")
    assert (found is not None) == is_needed_to_store
    assert serve.check_database(wrapper(url_of(database))) is None


def test_it_does_not_serve_before_the_migrations(database: Postgres):
    database.execute("CREATE DATABASE empty OWNER teleop")
    sentence = refusal_of(url_of(database, name="empty"))
    assert re.fullmatch(r"\d+ migrations are not applied, the first is \w+\..*; run python manage.py migrate", sentence)


def test_it_names_a_missing_privilege_on_the_schema(database: Postgres):
    database.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    database.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC", "teleop")
    sentence = refusal_of(url_of(database).replace(f"teleop:{ENCODED}", "guest:guest"))
    database.execute("GRANT USAGE ON SCHEMA public TO PUBLIC", "teleop")
    assert sentence.endswith("the role may use no schema; GRANT USAGE ON SCHEMA public TO guest")


def test_it_serves_whatever_styles_the_database_has(server: Server):
    with robot_socket(server, "stylish?session=with-styles", key=None) as robot:
        robot.send({"type": "start", "fps": 30, "meta_info": {"task": "Handtücher falten"}}, frame(0), frame(60))
        robot.receive_until_ack(60)
        robot.send({"type": "end"})
        assert robot.receive("ended")["frame_count"] == 2
    status, page = get(server, "/sessions?robot=stylish&min_duration=0.5")
    (session,) = page["results"]
    assert (status, session["meta_info"]["task"], session["frame_count"]) == (200, "Handtücher falten", 2)
    assert session["start_time"].startswith("2023-12-23T08:00:00")
    assert get(server, f"/sessions/{session['id']}/frames")[1]["results"][0]["timestamp"] == T0


def test_health_and_metrics_show_that_nothing_can_be_stored(database: Postgres, server: Server):
    assert health(server) == (200, "")
    with without(database, "INSERT", "teleop_teleopframe"):
        wait_until(lambda: health(server)[0] == 503)
        assert health(server)[1] == "database: the role has no privilege INSERT on teleop_teleopframe"
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as page:
            assert 'teleop_part_up{part="database"} 0.0' in page.read().decode()
    wait_until(lambda: health(server)[0] == 200)


def test_health_names_a_read_only_database_and_recovers(database: Postgres, server: Server):
    database.execute("ALTER DATABASE teleop SET default_transaction_read_only = on")
    try:
        found = serve.check_database(wrapper(url_of(database)))
        assert found and found.is_temporary and "target_session_attrs=read-write" in found.cure
        wait_until(lambda: health(server) == (503, "database: the database is read-only"))
    finally:
        database.execute("ALTER DATABASE teleop SET default_transaction_read_only = off")
    wait_until(lambda: health(server)[0] == 200)
    with robot_socket(server, "after-read-only", key=None) as robot:
        robot.send(frame(0))
        robot.receive_until_ack(0)


REFUSE_ONE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'not this text' USING ERRCODE = 'untranslatable_character'; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON teleop_teleopsession
        FOR EACH ROW WHEN (NEW.meta_info::text LIKE '%falten%') EXECUTE FUNCTION refuse()
"""


def test_the_text_of_one_robot_does_not_stop_the_heartbeats_of_others(database: Postgres, server: Server):
    count = "SELECT frame_count FROM teleop_teleopsession WHERE robot_id = 'good'"
    with robot_socket(server, "bad", key=None) as bad, robot_socket(server, "good", key=None) as good:
        database.execute(REFUSE_ONE, "teleop")
        try:
            for robot in (bad, good):
                robot.send({"type": "start", "meta_info": {"task": "Handtücher falten" if robot is bad else "Fold"}})
                robot.send(frame(0))
                robot.receive_until_ack(0)
            wait_until(lambda: database.fetch_value(count, "teleop") == 1, what="the heartbeat of the other robot")
        finally:
            database.execute("DROP TRIGGER refuse ON teleop_teleopsession; DROP FUNCTION refuse", "teleop")


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_it_refuses_pgbouncer_with_its_defaults(database: Postgres, mode: str):
    with pgbouncer(database, settings=f"pool_mode = {mode}\n") as bouncer:
        sentence = refusal_of(f"{bouncer.url.removesuffix('postgres')}teleop")
    assert "pgbouncer refuses the startup parameter options; ignore_startup_parameters = options" in sentence


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_it_accepts_pgbouncer_with_the_documented_settings(database: Postgres, mode: str):
    settings = TRANSACTION_MODE.replace("transaction", mode)
    with pgbouncer(database, settings=f"{settings}query_wait_timeout = 1\n") as bouncer:
        url = f"{bouncer.url.removesuffix('postgres')}teleop"
        assert serve.check_database(wrapper(url)) is None
        database.stop()
        try:
            found = serve.check_database(wrapper(url))
            assert found and found.is_temporary
        finally:
            database.start()


class WaitingServer(Server):
    def answers(self) -> bool:
        return "waiting for the database of DATABASE_URL: " in self.output()


@pytest.mark.long
def test_serve_waits_for_a_database_that_is_not_there_yet(database: Postgres, tmp_path: Path):
    server = WaitingServer(tmp_path, DATABASE_URL=url_of(database), REDIS_URL="", ROBOT_AUTH="open")
    database.stop()
    try:
        server.start()
    finally:
        database.start()
    try:
        wait_until(lambda: Server.answers(server), what="the server serves")
        (line,) = re.findall("waiting for .*", server.output())
        assert "Connection refused" in line and "correct DATABASE_URL, or start the database" in line
        assert "ss:/word" not in server.output()
    finally:
        server.stop()


@pytest.mark.parametrize(
    "url, printed",
    [
        ("sqlite://:memory:", "DATABASE_URL names a database in memory"),
        ("sqlite:////no/such/folder/db.sqlite3", "unable to open database file"),
        (f"sqlite:///{Path(__file__).relative_to(ROOT)}", "file is not a database"),
    ],
)
def test_it_refuses_a_sqlite_database_that_cannot_be_used(url: str, printed: str):
    assert printed in refusal_of(url)


def test_health_names_a_file_that_is_missing(tmp_path: Path):
    found = problem(SimpleNamespace(vendor="sqlite", settings_dict={"NAME": str(tmp_path / "db.sqlite3")}), STORING)
    assert (found.what, found.id) == ("the file of the database is missing", "teleop.E005")


def test_an_unreachable_port_is_named_with_its_cure():
    found = serve.check_database(wrapper(f"postgresql://127.0.0.1:{free_port()}/teleop"))
    assert "Connection refused" in str(found) and str(found).endswith("correct DATABASE_URL, or start the database")
