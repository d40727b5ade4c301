"""Measure the cost of pictures of cameras for robots: `python -m tests.bench.previews`.

Ack p95 of 100 robots without and with 20 live pages, each of another robot that sends pictures of two cameras, in
turns. `--cameras 0` measures the pages without pictures.
"""

import json
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

from tests.bench.side_load import LoadedServer, arguments, compare
from tests.services import postgres

PAGES = 20


@contextmanager
def previews(site: LoadedServer, cameras: int):
    """Run the pages and the pictures of their robots as a side load."""
    numbers = map(str, (site.port, site.sessionid, PAGES, cameras))
    command = [sys.executable, "-m", "tests.bench.preview_load", *numbers]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        answers: dict = {}
        try:
            process.stdout.readline()  # all pages have an answer
            yield answers
            answers |= json.loads(process.communicate()[0])
        finally:
            process.stdin.close()


def main() -> None:
    options = arguments(__doc__, cameras=2)
    with postgres() as service:
        load = partial(previews, cameras=options.cameras)
        compare(f"{PAGES} live pages of {options.cameras} cameras", load, options, service)


if __name__ == "__main__":
    main()
