import argparse
import fcntl
import http.server
import tempfile
import threading
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from loadtest.arguments import add_arguments, parse
from loadtest.management.commands import loadtest
from loadtest.run import limits
from loadtest.run.plan import Run
from loadtest.run.processes import Unusable, free_port

pytestmark = [pytest.mark.django_db, pytest.mark.once]  # the command asks the database for its storage format


def refused(**options) -> str:
    with pytest.raises(CommandError) as error:
        call_command("loadtest", **options)
    assert error.value.returncode == 2
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("option", "value", "printed"),
    [
        ("robots", "0", "--robots is '0'; whole numbers from 1 to 1000 expected"),
        ("robots", "10,x", "--robots is '10,x'"),
        ("robots", "", "--robots is ''"),
        ("duration", "-3", "--duration is '-3'"),
        ("database", "mysql", "--database is 'mysql'; sqlite, postgres expected"),
        ("scenario", "storm", "--scenario is 'storm'; robots, report, mixed expected"),
        ("workers", "65", "--workers is '65'"),
        ("frames_per_message", "601", "--frames-per-message is '601'"),
        ("cpus", "0", "--cpus is '0'"),
        ("cpus", "1000", "--cpus is '1000'"),
        ("memory", "lots", "--memory is 'lots'; a size from 64m up expected"),
        ("memory", "1m", "--memory is '1m'"),
        ("host", "localhost:8000", "--host is 'localhost:8000'; a URL such as"),
        ("output", "/dev/null/report", "--output is '/dev/null/report', which cannot be written"),
        ("require", "speed>1", "--require has 'speed>1'"),
        ("compare", ["no.json", "no.json"], "--compare: no.json: No such file or directory"),
    ],
)
def test_it_refuses_an_invalid_argument_and_names_it(option, value, printed):
    assert printed in refused(**{option: value})


def parsed(*arguments: str) -> list[Run]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parse(vars(parser.parse_args(["--database", "sqlite", *arguments]))).runs


def test_it_plans_a_run_of_each_duration():
    runs = parsed("--robots", "10,20", "--duration", "30,60")
    assert [(run.robots, run.duration_s) for run in runs] == [(10, 30), (20, 30), (10, 60), (20, 60)]
    assert len({str(run) for run in runs}) == 4


def test_it_refuses_a_batch_longer_than_the_shortest_duration():
    with pytest.raises(Unusable, match="--frames-per-message is more than"):
        parsed("--frames-per-message", "200", "--duration", "10,2")


@pytest.mark.parametrize(
    ("mode", "option"),
    [
        ("--find-max", "--duration"),
        ("--find-max", "--workers"),
        ("--sweep", "--duration"),
        ("--sweep", "--workers"),
        ("--sweep", "--frames-per-message"),
    ],
)
def test_it_refuses_a_list_that_a_mode_would_not_run(mode, option):
    with pytest.raises(Unusable, match=rf"^{option} is '1,2'; one value expected with {mode}$"):
        parsed(mode, option, "1,2")


def test_it_refuses_two_scenarios_in_a_search():
    with pytest.raises(Unusable, match=r"^--scenario is 'robots,report'; one value expected with --find-max$"):
        parsed("--find-max", "--scenario", "robots,report")


def test_it_refuses_the_report_scenario_with_an_external_server():
    assert "can only be counted in the database" in refused(host="http://127.0.0.1:8000", scenario="report")


def test_it_reports_an_unreachable_host():
    host = f"http://127.0.0.1:{free_port()}"
    assert refused(host=host) == f"--host {host} does not answer: [Errno 111] Connection refused"


def test_it_reports_a_host_running_another_server():
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status": "ok"}')

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        assert "is not a LeRobot Backend server" in refused(host=f"http://127.0.0.1:{other.server_port}")
        other.shutdown()


def test_it_reports_missing_postgresql(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    assert refused(database="postgres", postgres_url=url) == "no PostgreSQL answers at --postgres-url"
    monkeypatch.setattr("loadtest.run.processes.shutil.which", lambda *_, **__: None)
    assert refused(database="postgres").startswith("no initdb: install Debian's postgresql")


def test_it_refuses_a_concurrent_run(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (tmp_path / "teleop-loadtest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another load test is running" in refused(database="sqlite")


def test_it_names_the_package_to_install_without_locust(monkeypatch):
    monkeypatch.setattr(loadtest, "find_spec", lambda name: None if name == "locust" else "there")
    assert refused() == "loadtest needs locust; run pip install -r requirements-dev.txt"


def test_it_reports_missing_permission_to_create_a_cgroup(tmp_path):
    with limits.limits(1, 2**30, root=Path("/proc/no/such/folder")) as found:
        assert "affinity to core" in found.description
        assert "no right to make a cgroup" in found.description
        assert not found.are_whole


def test_it_sets_cgroup_v2_limits(tmp_path):
    (tmp_path / "cgroup.controllers").touch()
    made = []
    assert limits.make_groups(tmp_path, 0.5, 2**30, made) == 2
    assert (made[0] / "memory.max").read_text() == str(2**30)
    assert (made[0] / "cpu.max").read_text() == "50000 100000"
