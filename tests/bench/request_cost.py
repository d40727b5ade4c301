"""Measure the server's CPU for a request, beside a bare Daphne application: `python -m tests.bench.request_cost`.

PostgreSQL with 100 robots and 109 sessions; one client with one connection and a token. The servers have core 0, the
client and PostgreSQL core 1. Prints ms of CPU a request, and the ratio to the bare application's of the same turn.
"""

import os
import statistics
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection

import psutil

from tests.bench.serving import LOAD_CORE, SERVER_CORE, cpu_s, listening
from tests.bench.side_load import superuser
from tests.services import ROOT, free_port, postgres, wait_until

PATHS = ("/health/live", "/health", "/robots", "/sessions?limit=10")
WARM_UP = 20


@contextmanager
def running(command: list[str], port: int, env: dict[str, str]) -> Iterator[psutil.Process]:
    with subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            server = psutil.Process(process.pid)
            server.cpu_affinity([SERVER_CORE])
            wait_until(lambda: listening([server], port), what="the server listens")
            yield server
        finally:
            process.terminate()


def cost_ms(server: psutil.Process, port: int, path: str, token: str, requests: int) -> float:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Token {token}"}
    before = 0.0
    for number in range(WARM_UP + requests):
        if number == WARM_UP:
            before = cpu_s([server])
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, (path, answer.status)
    return (cpu_s([server]) - before) / requests * 1000


def main(requests: int, turns: int) -> None:
    psutil.Process().cpu_affinity([LOAD_CORE])
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        env = os.environ | {"DATABASE_URL": database.url, "SECRET_KEY": "bench", "DEBUG": "0", "REDIS_URL": ""}
        env["HTTP_REQUESTS_PER_ADDRESS"] = "1000000"  # by default, most requests of this client would have to wait
        fill = [sys.executable, "-m", "tests.bench.fill", "--frames", "200000", "--long", "1800"]
        subprocess.run(fill, env=env | {"DJANGO_SETTINGS_MODULE": "config.settings"}, cwd=ROOT, check=True)
        _, token = superuser(env)
        bare_port, port = free_port(), free_port()
        bare = [sys.executable, "-m", "daphne", "-v", "0", "-p", str(bare_port), "tests.bench.bare:application"]
        serve = [sys.executable, "manage.py", "serve", "--port", str(port)]
        bare_server = stack.enter_context(running(bare, bare_port, env))
        server = stack.enter_context(running(serve, port, env))
        found: dict[str, list[tuple[float, float]]] = {path: [] for path in PATHS}
        for _ in range(turns):
            for path in PATHS:
                least = cost_ms(bare_server, bare_port, "/", token, 4 * requests)
                cost = cost_ms(server, port, path, token, requests)
                found[path].append((cost, cost / least))
    print("| path | ms | bare Daphne's, times |\n| --- | --- | --- |")
    for path, measured in found.items():
        costs, ratios = zip(*measured, strict=True)
        print(f"| {path} | {statistics.median(costs):.2f} | {statistics.median(ratios):.1f} |")
    print(f"bare Daphne: {least:.2f} ms")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=5)
    main(**vars(parser.parse_args()))
