"""What watching costs the robots, and what watchers that stopped reading cost memory: `python -m tests.bench.watchers`.

100 robots on one core: ack p95 without and with 20 watchers (10 on live pages, 10 on the fleet), in turns; then 20 that
ask without end and read nothing, with the server's RSS over time. Cores as in `python -m tests.bench`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from tests.bench.__main__ import CASES, cpu_s, serving
from tests.services import free_port, postgres

HERE = Path(__file__).parent
CASE = CASES["postgres-100"]
WATCHERS = 20
SAMPLE_S = 2
LOGIN = """
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.create_superuser("watcher"))
print(client.cookies["sessionid"].value)
"""


@contextmanager
def watchers(port: int, sessionid: str, how: str):
    """`how` is read, deaf or nobody."""
    if how == "nobody":
        yield None
        return
    command = [sys.executable, HERE / "watch.py", str(port), sessionid, str(WATCHERS), str(CASE.robots), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            process.stdout.readline()  # all have been answered
            yield process
        finally:
            process.stdin.close()


def run(how: str, seconds: int, service) -> dict:
    port = free_port()
    name = f"bench_{port}"
    with ExitStack() as stack:
        url = service.create_database(name)
        stack.callback(service.drop_database, name)
        settings = {"DATABASE_URL": url, "SECRET_KEY": "bench", "ROBOT_AUTH": "open", "DEBUG": "0", "REDIS_URL": ""}
        env = os.environ | settings
        process, limits = stack.enter_context(serving(CASE, port, env))
        shell = [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", LOGIN]
        sessionid = subprocess.run(shell, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        load = [sys.executable, HERE / "load.py", str(port), str(CASE.robots), str(seconds), "1"]
        generator = stack.enter_context(subprocess.Popen(load, stdout=subprocess.PIPE, text=True))
        generator.stdout.readline()  # all are connected
        watching = stack.enter_context(watchers(port, sessionid, how))
        server = psutil.Process(process.pid)
        before, rss_mb = cpu_s([server]), []
        while generator.poll() is None:
            rss_mb.append(round(server.memory_info().rss / 2**20, 1))
            with suppress(subprocess.TimeoutExpired):
                generator.wait(SAMPLE_S)
        result = json.loads(generator.stdout.read())
        used = cpu_s([server]) - before
        answers = {}
        if watching:
            answers = json.loads(watching.communicate()[0])
        return {**result, **answers, "server_cpu": round(used / seconds, 2), "rss_mb": rss_mb, "limits": limits}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--deaf-seconds", type=int, default=60)
    options = parser.parse_args()
    p95: dict[str, list[float]] = {"nobody": [], "read": []}
    psutil.Process().cpu_affinity([1])  # inherited by PostgreSQL
    with postgres() as service:
        for turn in range(options.runs):
            for how, measured in p95.items():
                result = run(how, options.seconds, service)
                measured.append(result["p95_ms"])
                print(turn + 1, how, json.dumps(result), flush=True)
        deaf = run("deaf", options.deaf_seconds, service)
        print("deaf", json.dumps(deaf), flush=True)
    without, with_watchers = (statistics.median(measured) for measured in p95.values())
    print(f"\nack p95: {without} ms with nobody, {with_watchers} ms with {WATCHERS}: {with_watchers / without:.2f} x")
    rss = deaf["rss_mb"]
    print(f"RSS with {WATCHERS} that do not read: {rss[len(rss) // 4]} MB after a quarter, {rss[-1]} MB at the end")


if __name__ == "__main__":
    main()
