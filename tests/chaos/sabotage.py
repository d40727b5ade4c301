"""A server that breaks the promise on purpose, to see that the ledger notices.

python -m tests.chaos.sabotage WHAT serve ...
"""

import asyncio
import itertools
import sys
from pathlib import Path

import django
from django.core.management import execute_from_command_line

from tests.services import Server


class Sabotaged(Server):
    def __init__(self, what: str, *args, **settings) -> None:
        super().__init__(*args, **settings)
        self.what = what

    def command(self) -> list[str | Path]:
        python, _, *rest = super().command()
        return [python, "-m", "tests.chaos.sabotage", self.what, *rest]


def ack_before_commit() -> None:
    """By a fifth of a second, as a server might that wants low latencies."""
    from teleop.ingest.writer import FrameWriter

    store_group = FrameWriter._store_group
    late = set()

    async def store_late(self, rows):
        await asyncio.sleep(0.2)
        await store_group(self, rows)

    async def settle_first(self, rows):
        task = asyncio.create_task(store_late(self, rows))
        late.add(task)
        task.add_done_callback(late.discard)
        return [], []

    FrameWriter._store_group = settle_first


def drop_one_in_10000() -> None:
    from teleop.ingest import store

    write, numbers = store.write, itertools.count(1)
    store.write = lambda rows: write([row for row in rows if next(numbers) % 10_000])


def main(what: str, *command: str) -> None:
    django.setup()
    globals()[what]()
    execute_from_command_line(["manage.py", *command])


if __name__ == "__main__":
    main(*sys.argv[1:])
