"""Measure the cost of watchers for robots, and the memory for non-reading watchers: `python -m tests.bench.watchers`.

Ack p95 of 100 robots without and with 20 watchers (10 on live pages, 10 on the fleet), in turns; then 20 that send
requests without end and read nothing, with the server's RSS over time.
"""

import json
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

from tests.bench.serving import HERE
from tests.bench.side_load import CASE, LoadedServer, arguments, compare, run
from tests.services import postgres

WATCHERS = 20


@contextmanager
def watchers(site: LoadedServer, how: str):
    """Run watchers as a side load; `how` is read or deaf."""
    command = [sys.executable, HERE / "watch.py", str(site.port), site.sessionid, str(WATCHERS), str(CASE.robots), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        answers: dict = {}
        try:
            process.stdout.readline()  # all watchers have an answer
            yield answers
            answers |= json.loads(process.communicate()[0])
        finally:
            process.stdin.close()


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
