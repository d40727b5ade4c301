"""A hundred robots on one core, with a side load: other work on the same server, and its cost for their acks.

Cores as in `python -m tests.bench`.
"""

import json
import os
import statistics
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import NamedTuple

import psutil

from tests.bench.serving import LOAD_CORE, Case, cpu_s, migrate, serving, shell
from tests.services import Postgres, free_port

CASE = Case("postgres")
SAMPLE_S = 2
LOGIN = """
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.authtoken.models import Token
user, client = User.objects.create_superuser("bench"), Client()
client.force_login(user)
print(client.cookies["sessionid"].value, Token.objects.create(user=user))
"""


class LoadedServer(NamedTuple):
    """The measured server, and the session id and token that `superuser` made."""

    pid: int
    port: int
    env: dict[str, str]
    sessionid: str
    token: str


Prepare = Callable[[str], None]  # fills the database of this URL before the load begins
# The yielded dict is filled when the block ends, and goes into the result.
SideLoad = Callable[[LoadedServer], AbstractContextManager[dict]]


@contextmanager
def no_side_load(site: LoadedServer):
    yield {}


@contextmanager
def process_load(*command: object):
    """Run a process as a side load; it writes a line when it has begun, and its figures as JSON when its input ends."""
    with subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        answers: dict = {}
        try:
            process.stdout.readline()
            yield answers
            answers |= json.loads(process.communicate()[0])
        finally:
            process.stdin.close()


def superuser(env: dict[str, str]) -> tuple[str, str]:
    """Return an administrator's session id and token."""
    sessionid, token = shell(LOGIN, env).split()
    return sessionid, token


def nothing(url: str) -> None:
    """Leave the database as it is."""


def run(
    side_load: SideLoad, seconds: int, service: Postgres, robots: int = CASE.robots, prepare: Prepare = nothing
) -> dict:
    port = free_port()
    name = f"bench_{port}"
    with ExitStack() as stack:
        url = service.create_database(name)
        stack.callback(service.drop_database, name)
        settings = {"DATABASE_URL": url, "SECRET_KEY": "bench", "ROBOT_AUTH": "open", "DEBUG": "0", "REDIS_URL": ""}
        env = os.environ | settings
        migrate(env)
        prepare(url)
        process, limits = stack.enter_context(serving(CASE, port, env))
        credentials = superuser(env)
        load = [sys.executable, "-m", "tests.bench.load", str(port), str(robots), str(seconds), "1"]
        generator = stack.enter_context(subprocess.Popen(load, stdout=subprocess.PIPE, text=True))
        server, rss_mb = psutil.Process(process.pid), []
        generator.stdout.readline()  # all are connected
        with side_load(LoadedServer(process.pid, port, env, *credentials)) as answers:
            before = cpu_s([server])
            while generator.poll() is None:
                rss_mb.append(round(server.memory_info().rss / 2**20, 1))
                with suppress(subprocess.TimeoutExpired):
                    generator.wait(SAMPLE_S)
            result = json.loads(generator.stdout.read())
            used = cpu_s([server]) - before
        return {**result, **answers, "server_cpu": round(used / seconds, 2), "rss_mb": rss_mb, "limits": limits}


def compare(
    name: str,
    side_load: SideLoad,
    options: Namespace,
    service: Postgres,
    robots: int = CASE.robots,
    prepare: Prepare = nothing,
) -> None:
    """Print each run without and with the side load, in turns, and the ratio of the medians of ack p95."""
    loads = {"no side load": no_side_load, name: side_load}
    p95: dict[str, list[float]] = {load: [] for load in loads}
    for turn in range(options.runs):
        for load, begin in loads.items():
            result = run(begin, options.seconds, service, robots, prepare)
            p95[load].append(result["p95_ms"])
            print(turn + 1, load, json.dumps(result), flush=True)
    alone, loaded = (statistics.median(measured) for measured in p95.values())
    print(f"\nack p95: {alone} ms with no side load, {loaded} ms with {name}: {loaded / alone:.2f} x", flush=True)


def arguments(description: str, **defaults: int) -> Namespace:
    """Parse the options in `defaults`, --runs and --seconds; bind this process and its children to core 1."""
    parser = ArgumentParser(description=description)
    for name, default in ({"runs": 3, "seconds": 10} | defaults).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    psutil.Process().cpu_affinity([LOAD_CORE])
    return parser.parse_args()
