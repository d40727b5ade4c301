"""Measure the cost of watchers for robots, and the memory for non-reading watchers: `python -m tests.bench.watchers`.

Ack p95 of 100 robots without and with 20 watchers (10 on live pages, 10 on the fleet), in turns; then 20 that send
requests without end and read nothing, with the server's RSS over time.
"""

import json
import sys
from functools import partial

from tests.bench.serving import HERE
from tests.bench.side_load import CASE, LoadedServer, arguments, compare, process_load, run
from tests.services import postgres

WATCHERS = 20


def watchers(site: LoadedServer, how: str):
    """Run watchers as a side load; `how` is read or deaf."""
    return process_load(sys.executable, HERE / "watch.py", site.port, site.sessionid, WATCHERS, CASE.robots, how)


def main() -> None:
    options = arguments(__doc__, deaf_seconds=60)
    with postgres() as service:
        compare(f"{WATCHERS} watchers", partial(watchers, how="read"), options, service)
        deaf = run(partial(watchers, how="deaf"), options.deaf_seconds, service)
        print("deaf", json.dumps(deaf))
    rss = deaf["rss_mb"]
    print(f"RSS with {WATCHERS} that do not read: {rss[len(rss) // 4]} MB after a quarter, {rss[-1]} MB at the end")


if __name__ == "__main__":
    main()
