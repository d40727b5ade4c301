import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from loadtest.run import sampling
from loadtest.run.databases import Database
from loadtest.run.sampling import Sampler, Usage


class Program:
    """A program of one process; `cpu_s` is the CPU time that it has used."""

    def __init__(self) -> None:
        self.cpu_s = 0.0

    def processes(self) -> list[SimpleNamespace]:
        memory = SimpleNamespace(rss=2**20)
        times = (self.cpu_s, 0.0, 0.0, 0.0)
        return [SimpleNamespace(pid=1, cpu_times=lambda: times, memory_info=lambda: memory)]


@pytest.fixture
def busy(monkeypatch):
    """Busy seconds of all cores."""
    busy = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(sampling, "busy_s", lambda: busy.seconds)
    return busy


def test_it_counts_each_service_by_name_and_the_rest_as_other_processes(busy):
    server, postgres, redis = Program(), Program(), Program()
    database = Database("postgres", "", process=postgres)
    database.connections = lambda: 4
    sampler = Sampler(server, database, redis)
    sampler.begin()
    server.cpu_s, postgres.cpu_s, redis.cpu_s = 4.0, 2.0, 1.0
    busy.seconds += 9.0
    sampler.end()
    assert [usage.percent(10) for usage in (sampler.server, sampler.db, sampler.redis)] == [40.0, 20.0, 10.0]
    assert sampler.server.percent(10, cores=2) == 20.0
    assert sampler.others_cpu(seconds=10, generator_cpu=0.15) == pytest.approx(0.05)


def test_it_has_no_number_for_a_service_that_is_not_part_of_the_run(busy):
    sampler = Sampler(None, None, None)
    sampler.begin()
    sampler.end()
    assert [usage.percent(10) for usage in (sampler.server, sampler.db, sampler.redis)] == [None] * 3


def test_it_counts_a_child_that_started_and_ended_between_two_samples():
    child = "import time\nwhile time.process_time() < 0.2: pass"
    parent = f"import subprocess, sys\ninput()\nsubprocess.run([sys.executable, '-c', {child!r}])\nprint()\ninput()"
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen([sys.executable, "-c", parent], **options) as process:
        usage = Usage(SimpleNamespace(processes=lambda: [psutil.Process(process.pid)]))
        usage.begin()
        process.stdin.write("\n")
        process.stdout.readline()  # the child has ended
        usage.sample()
        process.stdin.write("\n")
    assert usage.used_s >= 0.2
