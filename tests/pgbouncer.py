"""PgBouncer between the server and PostgreSQL, as at providers of hosted databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg

from tests.services import Postgres, Service, program, running

# PgBouncer gives a client any idle connection of the pool for one transaction. `options` holds the settings that
# psycopg sends at the start of a session, and clients share these sessions.
CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={postgres_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
default_pool_size = {pool_size}
"""
TRANSACTION_MODE = "pool_mode = transaction\nignore_startup_parameters = options\n"


class PgBouncer(Service):
    """Debian's PgBouncer in front of all databases of one PostgreSQL."""

    def __init__(self, database: Postgres, pool_size: int, settings: str, folder: Path) -> None:
        super().__init__(folder)
        self.use_account("postgres")
        self.pool_size = pool_size
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        values = {"postgres_port": database.port, "port": self.port, "folder": folder, "pool_size": pool_size}
        (folder / "pgbouncer.ini").write_text(CONFIGURATION.format(**values) + settings)
        (folder / "users.txt").write_text('"postgres" ""\n')

    def command(self) -> list[str | Path]:
        return [program("pgbouncer"), self.folder / "pgbouncer.ini"]

    def answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=5) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def pgbouncer(database: Postgres, pool_size: int = 4, settings: str = TRANSACTION_MODE) -> Iterator[PgBouncer]:
    with running(partial(PgBouncer, database, pool_size, settings)) as service:
        yield service
