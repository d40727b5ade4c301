"""Measure the cost of REST clients for robots, and the clients' own latency: `python -m tests.bench.rest`.

Ack p95 of 100 robots without and with 20 requests a second of /health, /robots and /sessions?limit=10, in turns; the
requests' p50 and p95 in ms, each status, and the most connections that PostgreSQL had.
"""

import statistics
import threading
import time
from collections import Counter
from contextlib import contextmanager
from itertools import cycle

import psycopg
import requests

from tests.bench.side_load import LoadedServer, arguments, compare
from tests.services import postgres

PATHS = ["/health", "/robots", "/sessions?limit=10"]
CLIENTS, REQUESTS_A_SECOND = 20, 20
IN_USE = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"


@contextmanager
def clients(site: LoadedServer):
    done = threading.Event()
    took_ms: list[float] = []
    statuses: Counter[str] = Counter()
    connections: list[int] = []
    headers = {"Authorization": f"Token {site.token}"}

    def ask(number: int) -> None:
        with requests.Session() as client:
            done.wait(number / REQUESTS_A_SECOND)
            for path in cycle(PATHS[number % len(PATHS) :] + PATHS[: number % len(PATHS)]):
                began = time.perf_counter()
                statuses[
                    f"{path} {client.get(f'http://127.0.0.1:{site.port}{path}', headers=headers).status_code}"
                ] += 1
                took_ms.append((time.perf_counter() - began) * 1000)
                if done.wait(max(0, began + CLIENTS / REQUESTS_A_SECOND - time.perf_counter())):
                    return

    def count() -> None:
        with psycopg.connect(site.env["DATABASE_URL"], autocommit=True) as connection:
            while not done.wait(0.5):
                connections.append(connection.execute(IN_USE).fetchone()[0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    threads.append(threading.Thread(target=count))
    answers: dict = {}
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        done.set()
        for thread in threads:
            thread.join()
    quantiles = statistics.quantiles(took_ms, n=100)
    answers |= {"rest_p50_ms": round(quantiles[49], 1), "rest_p95_ms": round(quantiles[94], 1), "statuses": statuses}
    answers["connections"] = max(connections)


if __name__ == "__main__":
    options = arguments(__doc__)
    with postgres() as service:
        compare(f"{REQUESTS_A_SECOND} requests a second", clients, options, service)
