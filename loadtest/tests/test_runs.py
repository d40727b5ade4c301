"""Run load tests with real servers, some of them sabotaged, and the real generator."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from loadtest.report.verdicts import verdict
from loadtest.run.plan import Options, Run
from loadtest.run.processes import ROOT
from loadtest.run.runner import Bench
from tests.services import is_running, wait_until

KEYS = [
    "database", "robots", "workers", "frames_per_message", "duration_s", "sent", "acked", "stored", "failures", "rps",
    "p50_ms", "p95_ms", "send_p95_ms", "cpu", "memory_mb", "db_connections", "verdict",
]  # fmt: skip


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """Run the command with a temporary folder of its own, so that no other load test blocks it."""
    command = [sys.executable, "manage.py", "loadtest", "--database", "sqlite", "--output", folder / "out", *arguments]
    env = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def command_lines(parent: psutil.Process) -> str:
    found = []
    for each in parent.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # the process ended meanwhile
            found += each.cmdline()
    return " ".join(found)


def connections_of_generator(parent: psutil.Process) -> int:
    found = 0
    for child in parent.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "loadtest.generator.generate" in child.cmdline():
                found += sum(each.status == psutil.CONN_ESTABLISHED for each in child.net_connections("tcp"))
    return found


def against(mode: str, robots: int = 5, duration_s: int = 3) -> dict:
    """Return the problems that a run against a sabotaged server finds."""
    command = ("-m", "loadtest.tests.faulty_server", mode)
    options = Options(runs=[], server_command=command)
    with Bench(options, watch=lambda run, printed: None) as bench:
        return bench.run(Run("sqlite", robots, duration_s=duration_s))


def test_it_counts_every_frame_of_a_short_run(tmp_path):
    process = start(tmp_path, "--robots", "5", "--duration", "3", "--require", "failures==0,p95_ms<5000")
    printed, _ = process.communicate(timeout=40)
    assert process.returncode == 0, printed
    results = json.loads((tmp_path / "out/results.json").read_text())
    (row,) = results["runs"]
    assert list(results) == ["machine", "runs"]
    assert list(row) == KEYS
    assert row["sent"] == row["acked"] == row["stored"] == 5 * 60 * 3
    assert "4.1 SQLite" in (tmp_path / "out/report.md").read_text()
    assert "<svg" in (tmp_path / "out/report.html").read_text()


@pytest.fixture(scope="module")
def dropped_and_slow() -> dict:
    """Run once for two tests: a run takes 3 s of CPU, and one fault does not hide the other."""
    return against("drop,slow")


def test_it_detects_one_dropped_frame_in_a_hundred(dropped_and_slow):
    assert dropped_and_slow["row"]["verdict"] == "failed"
    assert dropped_and_slow["problems"] == ["9 of 900 acknowledged frames are not stored"]


@pytest.mark.long
def test_it_detects_a_slow_server(dropped_and_slow):
    row = dropped_and_slow["row"]
    assert row["p95_ms"] > 250
    assert verdict(row, is_sound=True, bottleneck=None) == "missed"


@pytest.mark.long
def test_it_detects_acks_sent_before_commit():
    found = against("early", duration_s=4)
    lost = found["row"]["acked"] - found["row"]["stored"]
    assert lost > 0
    assert found["problems"] == [f"{lost} of {found['row']['acked']} acknowledged frames are not stored"]
    assert any("lost" in what and "acknowledged" in what for what in found["result"]["failures"])


@pytest.mark.long
def test_ctrl_c_stops_all_processes_and_writes_partial_results(tmp_path):
    process = start(tmp_path, "--robots", "5", "--duration", "60")
    family = psutil.Process(process.pid)
    wait_until(lambda: "loadtest.generator.generate" in command_lines(family), 30)
    wait_until(lambda: connections_of_generator(family) >= 5, 30, "the robots' connections")
    children = family.children(recursive=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3)  # until the command measures
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 1, printed
    assert not any(map(is_running, children))
    (row,) = json.loads((tmp_path / "out/results.json").read_text())["runs"]
    assert row["verdict"] == "failed"
    assert row["acked"] > 0
    assert "interrupted" in printed
