"""A PostgreSQL standby that its primary waits for at each commit."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.chaos.environment import postgres_database
from tests.services import Postgres, postgres_program, running, wait_until


class Standby(Postgres):
    """A physical copy of a running primary that streams the primary's log until it is promoted."""

    def __init__(self, primary: Postgres, folder: Path) -> None:
        self.primary = primary
        super().__init__(folder)

    def command_for_data(self) -> list[str | Path]:
        options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        return [postgres_program("pg_basebackup"), f"--dbname={self.primary.url}", *options, "-D", self.folder / "data"]

    def follow(self) -> None:
        """Make each commit on the primary wait for this standby, also while this standby is down.

        The setting is made after the copy, so the standby does not inherit it and commits alone once it is promoted.
        """
        self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.execute("SELECT pg_reload_conf()")
        is_synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_until(lambda: self.primary.fetch_value(is_synchronous), what="a synchronous standby")

    def promote(self) -> None:
        """Accept writes from now on; the primary must be stopped, as nothing else keeps clients off it."""
        self.execute("SELECT pg_promote()")


@contextmanager
def standby_of(primary: Postgres) -> Iterator[Standby]:
    with running(partial(Standby, primary)) as standby:
        standby.follow()
        yield standby


def url_of_both(primary: Postgres, standby: Standby) -> str:
    """Return a URL of both servers; a client uses the one that accepts writes.

    The hosts stand in the query, as dj-database-url rejects `host1:port1,host2:port2` where a URL has its host.
    """
    hosts = f"host=127.0.0.1,127.0.0.1&port={primary.port},{standby.port}"
    return f"postgresql://postgres@/postgres?{hosts}&target_session_attrs=read-write"


@contextmanager
def postgres_pair() -> Iterator[tuple[Postgres, Standby]]:
    """Yield a primary with the tables, and its synchronous standby."""
    with postgres_database() as (primary, _), standby_of(primary) as standby:
        yield primary, standby
