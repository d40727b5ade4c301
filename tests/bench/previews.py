"""Measure the cost of pictures of cameras for robots: `python -m tests.bench.previews`.

Ack p95 of 100 robots without and with 20 live pages, each of another robot that sends pictures of two cameras, in
turns. `--cameras 0` measures the pages without pictures.
"""

import sys
from functools import partial

from tests.bench.side_load import LoadedServer, arguments, compare, process_load
from tests.services import postgres

PAGES = 20


def previews(site: LoadedServer, cameras: int):
    """Run the pages and the pictures of their robots as a side load."""
    numbers = (site.port, site.sessionid, PAGES, cameras)
    return process_load(sys.executable, "-m", "tests.bench.preview_load", *numbers)


def main() -> None:
    options = arguments(__doc__, cameras=2)
    with postgres() as service:
        load = partial(previews, cameras=options.cameras)
        compare(f"{PAGES} live pages of {options.cameras} cameras", load, options, service)


if __name__ == "__main__":
    main()
