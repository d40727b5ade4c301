"""Measure acks while an export is made beside 100 robots: `python -m tests.bench.export_load`.

The server has core 0; the load, PostgreSQL and the export, at the lowest priority as in `manage.py background`, have
core 1. Sessions of SO-101s without films are exported again and again as LeRobotDataset v3.0.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg

from tests.bench.exports import FILL, SHORT
from tests.bench.side_load import LoadedServer, arguments, compare
from tests.services import ROOT, postgres


def fill(url: str, sessions: int) -> None:
    """Store the sessions before the robots stream; a vacuum would come in the middle of a run otherwise."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in FILL.format(size=SHORT, sessions=sessions).split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


@contextmanager
def exports(site: LoadedServer):
    """Export again and again until the block ends; count the finished exports."""
    found: dict = {"exports": 0}
    stopping = threading.Event()

    def repeat(folder: str) -> None:
        command = ["nice", "-n", "19", sys.executable, "manage.py", "export", "--where", "robot=arm"]
        while not stopping.is_set():
            target = Path(folder, str(found["exports"]))
            with subprocess.Popen([*command, target], env=site.env, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
                while process.poll() is None and not stopping.wait(0.1):
                    pass
                process.terminate()
            found["exports"] += process.returncode == 0

    with tempfile.TemporaryDirectory() as folder:
        worker = threading.Thread(target=repeat, args=[folder])
        worker.start()
        try:
            yield found
        finally:
            stopping.set()
            worker.join()


if __name__ == "__main__":
    options = arguments(__doc__, sessions=100, seconds=20)
    with tempfile.TemporaryDirectory() as media, postgres() as service:
        os.environ |= {"MEDIA_ROOT": media, "BACKGROUND_WORK": "separate"}
        print(json.dumps({"frames": options.sessions * SHORT}), flush=True)
        compare("an export", exports, options, service, prepare=partial(fill, sessions=options.sessions))
