"""Start a database, a server and a Redis for one run, in a form that the run can kill."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path

from tests.patched_server import PatchedServer
from tests.services import ROOT, Postgres, Server, memory_folder, postgres, redis, running

ROLE = "teleop"


class MigratedPostgres(Postgres):
    """A cluster whose database `postgres` has the tables: a copy, as `initdb` and `migrate` take 2 s of CPU."""

    def command_for_data(self) -> list[str | Path]:
        return ["cp", "--recursive", _migrated_cluster(), self.folder / "data"]


@cache
def _migrated_cluster() -> Path:
    """Return the data of a stopped cluster."""
    with _made_once("cluster") as (folder, is_new):
        if is_new:
            with Postgres(folder) as service:
                migrated(service.url)
    return folder / "data"


@cache
def _migrated_file() -> Path:
    """Return a SQLite file with the tables."""
    with _made_once("file") as (folder, is_new):
        if is_new:
            migrated(f"sqlite:///{folder}/db.sqlite3")
    return folder / "db.sqlite3"


@contextmanager
def _made_once(name: str) -> Iterator[tuple[Path, bool]]:
    """Yield a folder of all processes of the run, and whether this process is the one that fills it."""
    folder = Path(os.environ["TESTS_FOLDER"], name)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        is_new = not folder.exists()
        folder.mkdir(exist_ok=True)
        yield folder, is_new


@contextmanager
def sqlite_file(folder: Path | None = None) -> Iterator[str]:
    """Yield the URL of a migrated file."""
    parent = folder or memory_folder()
    with tempfile.TemporaryDirectory(prefix="teleop-", dir=parent, ignore_cleanup_errors=True) as new:
        shutil.copy(_migrated_file(), new)
        yield f"sqlite:///{new}/db.sqlite3"


@contextmanager
def postgres_database() -> Iterator[tuple[Postgres, str]]:
    """Yield a cluster and the URL of its migrated database."""
    with running(MigratedPostgres, memory_folder()) as service:
        yield service, service.url


@contextmanager
def database_of_a_role() -> Iterator[tuple[Postgres, str]]:
    """Make tables of a role that is no superuser, as in production, so that privileges count."""
    with postgres() as service:
        service.execute(f"CREATE ROLE {ROLE} LOGIN")
        service.execute(f"GRANT CREATE ON SCHEMA public TO {ROLE}")
        yield service, migrated(service.url.replace("//postgres@", f"//{ROLE}@"))


def migrated(url: str) -> str:
    environment = os.environ | {"DATABASE_URL": url}
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=60)
    return url


@contextmanager
def serving(url: str, *options: str, redis_url: str = "", how: str = "", **settings: str) -> Iterator[Server]:
    """Serve with open registration of robots; `how` names an alteration of the server in tests/patched_server.py."""
    settings = {"DATABASE_URL": url, "REDIS_URL": redis_url, "ROBOT_AUTH": "open"} | settings
    with tempfile.TemporaryDirectory(prefix="teleop-", ignore_cleanup_errors=True) as folder:
        kind = partial(PatchedServer, how) if how else Server
        server = kind(Path(folder), *options, **settings)
        try:
            with server:
                yield server
        finally:
            print(server.output())  # noqa: T201 - pytest shows it if the test failed


@contextmanager
def serving_with(workers: int, url: str, **settings: str) -> Iterator[Server]:
    """Serve with that many workers, and with a Redis between them if there are several."""
    with ExitStack() as stack:
        redis_url = stack.enter_context(redis()).url if workers > 1 else ""
        yield stack.enter_context(serving(url, "--workers", str(workers), redis_url=redis_url, **settings))
