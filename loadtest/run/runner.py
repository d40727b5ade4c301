"""Do one run from a fresh database to its row: start, drive, sample, count, clean up."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loadtest.generator.measure import bottleneck
from loadtest.report.verdicts import problems, verdict
from loadtest.run import databases
from loadtest.run.limits import Cores, Limits, cores, limits
from loadtest.run.plan import Options, Run
from loadtest.run.processes import Postgres, Process, Redis, Server, Unusable
from loadtest.run.sampling import Sampler

SLACK_S = 90  # for connecting and draining; after it the runner ends the generator
Watch = Callable[[Run, dict], None]


class Bench:
    """Resources that outlive a run: the limits, PostgreSQL and Redis, each started when first needed."""

    def __init__(self, options: Options, watch: Watch) -> None:
        self.options = options
        self.cores: Cores = cores(options.cpus)
        self.details: list[dict] = []  # of each run: its row, and all data that the report plots
        self.databases: set[str] = set()  # with their versions
        self.was_interrupted = False
        self._watch = watch
        self._stack = ExitStack()

    def __enter__(self) -> "Bench":
        folder = tempfile.TemporaryDirectory(prefix="teleop-loadtest-", ignore_cleanup_errors=True)
        self.folder = Path(self._stack.enter_context(folder))
        self.folder.chmod(0o755)  # PostgreSQL may run as another user
        self.limits: Limits | None = None
        if not self.options.host:
            self.limits = self._stack.enter_context(limits(self.options.cpus, self.options.memory_bytes))
        self._postgres: Postgres | None = None
        self._redis: Redis | None = None
        return self

    def __exit__(self, *error) -> None:
        self._stack.__exit__(*error)

    def run(self, run: Run) -> dict:
        """Return the run's row. The data so far is in `details`, also after an interruption."""
        detail = {"run": str(run), "scenario": run.scenario, "settings": run.settings, "seconds": []}
        with ExitStack() as stack:
            if self.options.host:
                server = database = None
                url, token = self.options.host, self.options.token
            else:
                database = stack.enter_context(self._database(run))
                server = stack.enter_context(self._server(run, database))
                url, token = server.url, server.token
                self.databases.add(database.version())
            sampler = Sampler(server, database)
            result = self._drive(run, url, token, sampler, detail)
            result["stored"] = database.frames() if database else result["stored_as_told"]
            result["server_died"] = bool(server and server.process.poll() is not None)
            result["server_said"] = server.last_line() if result["server_died"] else ""
        detail |= self._judged(run, result, sampler)
        self.details.append(detail)
        return detail

    @property
    def how(self) -> str:
        """Describe in words how the server was limited."""
        if self.limits is None:
            return "none: the server was started elsewhere"
        shared = "" if self.cores.are_parted else "; generator and database share these cores with the server"
        return self.limits.how + shared

    def _judged(self, run: Run, result: dict, sampler: Sampler) -> dict:
        row = {
            "database": run.database,
            "robots": run.robots,
            "workers": run.workers,
            "frames_per_message": run.frames_per_message,
            "duration_s": run.duration_s,
            "sent": result["sent"],
            "acked": result["acked"],
            "stored": result["stored"],
            "failures": sum(result["failures"].values()) + sum(result["api_failures"].values()),
            "rps": result["rps"],
            "p50_ms": result["latency_ms"]["p50"],
            "p95_ms": result["latency_ms"]["p95"],
            "send_p95_ms": result["send_ms"]["p95"],
            "cpu": sampler.cpu_percent(self.options.cpus, result["measured_s"]),
            "memory_mb": sampler.peak_memory_mb,
            "db_connections": sampler.peak_connections,
        }
        found = problems(row)
        found += ["it was interrupted"] if result["was_stopped"] else []
        found += [f"the server died: {result['server_said']}"] if result["server_died"] else []
        generator = result["generator"]
        others = round(sampler.others_cpu(result["measured_s"], generator["cpu"]), 3)
        slow = bottleneck(generator["cpu"], generator["slip_ms"]["p95"] or 0, others if sampler.is_local else 0)
        row["verdict"] = verdict(row | {"scenario": run.scenario}, not found, slow)
        usage = {"others_cpu": others, "db_cpu": sampler.db_cpu_percent(result["measured_s"])}
        return {"row": row, "problems": found, "bottleneck": slow, **usage, "result": result}

    def _drive(self, run: Run, url: str, token: str, sampler: Sampler, detail: dict) -> dict:
        order = {
            "host": url,
            "robots": run.robots,
            "duration": run.duration_s,
            "scenario": run.scenario,
            "frames_per_message": run.frames_per_message,
            "token": token,
        }
        with self._generator(order) as (generator, lines):
            for line in lines:
                said = json.loads(line)
                self._watch(run, said)
                if said["phase"] == "measuring":
                    sampler.begin()
                elif said["phase"] == "second":
                    detail["seconds"].append({**said, **sampler.second()})
                elif said["phase"] == "draining":
                    sampler.end()
                elif said["phase"] == "done":
                    return said
        raise Unusable(f"the generator ended before it was done: {generator.last_line()}")

    @contextmanager
    def _generator(self, order: dict) -> Iterator[tuple[Process, Iterator[str]]]:
        generator = Process("generator", self.folder, self.cores.others)
        generator.start(
            [sys.executable, "-m", "loadtest.generator.generate", json.dumps(order)], {}, output=subprocess.PIPE
        )
        deadline = threading.Timer(order["duration"] + SLACK_S, generator.process.kill)
        deadline.start()
        try:
            yield generator, self._lines(generator)
        finally:
            deadline.cancel()
            generator.stop()

    def _lines(self, generator: Process) -> Iterator[str]:
        """Wait for the generator. Ctrl-C ends the load, and the generator still reports its numbers up to then."""
        while True:
            try:
                line = generator.process.stdout.readline()
            except KeyboardInterrupt:
                generator.process.terminate()
                self.was_interrupted = True
                continue
            if not line:
                return
            yield line

    def _database(self, run: Run):
        if run.database == "sqlite":
            return databases.fresh_sqlite(self.folder)
        if not self.options.postgres_url and self._postgres is None:
            folder = self.folder / "postgresql"
            folder.mkdir()
            self._postgres = self._stack.enter_context(Postgres("postgresql", folder, self.cores.others))
        url = self.options.postgres_url or self._postgres.url
        return databases.fresh_postgres(url, self._postgres)

    def _server(self, run: Run, database: databases.Database) -> Server:
        if run.workers > 1 and self._redis is None:
            self._redis = self._stack.enter_context(Redis("redis", self.folder, self.cores.others))
        env = {
            "DATABASE_URL": database.url,
            "REDIS_URL": self._redis.url if run.workers > 1 else "",
            "SECRET_KEY": "loadtest",  # nosec B105 # of a server that lives for one run, on 127.0.0.1
            "DEBUG": "0",
            "HTTPS": "0",
            "ROBOT_AUTH": "open",
            "NEW_ROBOTS_PER_ADDRESS": "0",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            **run.settings,
        }
        command = [*self.options.server_command, "--workers", str(run.workers)]
        return Server(self.folder, self.limits, env, command)
