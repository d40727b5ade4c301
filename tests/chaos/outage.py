"""Stop PostgreSQL or make it read-only for ten seconds under a hundred robots: the cost, and the time to catch up.

python -m tests.chaos.outage [stop|kill|freeze|read_only]
"""

import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.database_faults import read_only
from tests.chaos.environment import postgres_database, serving
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.scenarios import all_end, wait_until_settled
from tests.services import Postgres, Server, wait_until

ROBOTS, AWAY_S = 100, 10


def measure(how: str) -> dict[str, float]:
    with postgres_database() as (service, url), serving(url) as server, Fleet(server.url, Ledger(), ROBOTS) as fleet:
        wait_until_settled(fleet)
        time.sleep(5)  # measure memory under the normal load first
        before = peak_rss_mb(server)
        with away(service, how):
            time.sleep(AWAY_S)
        back, owed = time.monotonic(), fleet.ledger.sent
        wait_until(lambda: fleet.acked >= owed, 60, "all that was sent meanwhile is acknowledged")
        owed_s = time.monotonic() - back
        wait_until_settled(fleet)
        live_s = time.monotonic() - back
        reconnects = fleet.reconnects
        all_end(fleet, url)
        return {
            "RSS before, MB": before,
            "peak RSS, MB": peak_rss_mb(server),
            "seconds until what was sent meanwhile is in": round(owed_s, 1),
            "seconds until robots are live again": round(live_s, 1),
            "connections dropped": reconnects,
            "frames sent, all stored once": fleet.ledger.sent,
        }


@contextmanager
def away(service: Postgres, how: str) -> Iterator[None]:
    if how == "read_only":
        with read_only(service):
            yield
        return
    getattr(service, how)()
    yield
    service.thaw() if how == "freeze" else service.start()


def peak_rss_mb(server: Server) -> float:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return round(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024)


if __name__ == "__main__":
    os.environ.setdefault("SECRET_KEY", "outage")
    logging.getLogger("teleop_client").setLevel(logging.CRITICAL)
    for name, value in measure(sys.argv[1] if len(sys.argv) > 1 else "stop").items():
        print(f"{name:<45} {value}")  # noqa: T201
