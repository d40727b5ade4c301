"""Do one run from a fresh database to its row: start, drive, sample, count, clean up."""

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from loadtest.generator.measure import bottleneck
from loadtest.report.verdicts import problems, verdict
from loadtest.run import databases
from loadtest.run.limits import Cores, Limits, cores, limits
from loadtest.run.plan import Options, Run
from loadtest.run.processes import Generator, LimitedServer, Postgres, Redis, last_line, unusable
from loadtest.run.sampling import Sampler

SLACK_S = 90  # for connecting and draining; after it the runner ends the generator
Watch = Callable[[Run, dict[str, Any]], None]


class Bench:
    """Resources that outlive a run: the limits, PostgreSQL and Redis, each started when first needed."""

    def __init__(self, options: Options, watch: Watch) -> None:
        self.options = options
        self.cores: Cores = cores(options.cpus)
        self.details: list[dict[str, Any]] = []  # of each run: its row, and all data that the report plots
        self.databases: set[str] = set()  # with their versions
        self.was_interrupted = False
        self.limits = Limits([], [], "none: the server was started elsewhere", are_whole=True)
        self._watch = watch
        self._stack = ExitStack()

    def __enter__(self) -> "Bench":
        folder = tempfile.TemporaryDirectory(prefix="teleop-loadtest-", ignore_cleanup_errors=True)
        self.folder = Path(self._stack.enter_context(folder))
        self.folder.chmod(0o755)  # PostgreSQL may run as another user
        if not self.options.host:
            self.limits = self._stack.enter_context(limits(self.options.cpus, self.options.memory_bytes))
        self._postgres: Postgres | None = None
        self._redis: Redis | None = None
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, run: Run) -> dict[str, Any]:
        """Return the run's row. The data so far is in `details`, also after an interruption."""
        detail: dict[str, Any] = {"run": str(run), "scenario": run.scenario, "settings": run.settings, "seconds": []}
        with ExitStack() as stack:
            if self.options.host:
                server = database = None
                url, token = self.options.host, self.options.token
            else:
                database = stack.enter_context(self._database(run))
                server = stack.enter_context(self._server(run, database))
                url, token = server.url, server.token
                self.databases.add(database.version())
            sampler = Sampler(server, database, self._redis if run.workers > 1 else None)
            result = self._drive(run, url, token, sampler, detail)
            result["stored"] = database.frames() if database else result["stored_as_told"]
            if server and server.process.poll() is not None:
                result["server_died"] = last_line(server.output())
        detail |= self._judged(run, result, sampler)
        self.details.append(detail)
        return detail

    @property
    def limits_description(self) -> str:
        if self.options.host or self.cores.are_parted:
            return self.limits.description
        return f"{self.limits.description}; generator and database share these cores with the server"

    def _judged(self, run: Run, result: dict[str, Any], sampler: Sampler) -> dict[str, Any]:
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
            "cpu": sampler.server.percent(result["measured_s"], self.options.cpus),
            "memory_mb": sampler.peak_memory_mb,
            "db_connections": sampler.peak_connections,
        }
        found = problems(row)
        found += ["the run was interrupted"] if result["was_stopped"] else []
        found += [f"the server died: {result['server_died']}"] if "server_died" in result else []
        generator = result["generator"]
        others = round(sampler.others_cpu(result["measured_s"], generator["cpu"]), 3)
        slow = bottleneck(generator["cpu"], generator["slip_ms"]["p95"] or 0, others if sampler.is_local else 0)
        row["verdict"] = verdict(row | {"scenario": run.scenario}, not found, slow)
        usage = {
            "others_cpu": others,
            "db_cpu": sampler.db.percent(result["measured_s"]),
            "redis_cpu": sampler.redis.percent(result["measured_s"]),
        }
        return {"row": row, "problems": found, "bottleneck": slow, **usage, "result": result}

    def _drive(self, run: Run, url: str, token: str, sampler: Sampler, detail: dict[str, Any]) -> dict[str, Any]:
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
                event: dict[str, Any] = json.loads(line)
                self._watch(run, event)
                if event["phase"] == "measuring":
                    sampler.begin()
                elif event["phase"] == "second":
                    detail["seconds"].append({**event, **sampler.second()})
                elif event["phase"] == "draining":
                    sampler.end()
                elif event["phase"] == "done":
                    return event
        raise unusable("the generator ended before it was done", generator.output())

    @contextmanager
    def _generator(self, order: dict[str, Any]) -> Iterator[tuple[Generator, Iterator[str]]]:
        with Generator(self.folder, self.cores.others, order) as generator:
            deadline = threading.Timer(order["duration"] + SLACK_S, generator.process.kill)
            deadline.start()
            try:
                yield generator, self._lines(generator)
            finally:
                deadline.cancel()

    def _lines(self, generator: Generator) -> Iterator[str]:
        """Wait for the generator. Ctrl-C ends the load, and the generator still reports its numbers up to then."""
        events = generator.process.stdout
        while events is not None:
            try:
                line = events.readline()
            except KeyboardInterrupt:
                generator.process.terminate()
                self.was_interrupted = True
                continue
            if not line:
                return
            yield line

    def _database(self, run: Run) -> AbstractContextManager[databases.Database]:
        if run.database == "sqlite":
            return databases.fresh_sqlite(self.folder)
        if self.options.postgres_url:
            return databases.fresh_postgres(self.options.postgres_url, None)
        if self._postgres is None:
            folder = self.folder / "postgresql"
            folder.mkdir()
            self._postgres = self._stack.enter_context(Postgres(folder, self.cores.others))
        return databases.fresh_postgres(self._postgres.url, self._postgres)

    def _server(self, run: Run, database: databases.Database) -> LimitedServer:
        if run.workers > 1 and self._redis is None:
            self._redis = self._stack.enter_context(Redis(self.folder, self.cores.others))
        settings = {
            "DATABASE_URL": database.url,
            "REDIS_URL": self._redis.url if self._redis and run.workers > 1 else "",
            "SECRET_KEY": "loadtest",  # nosec B105 # of a server that lives for one run, on 127.0.0.1
            "DEBUG": "0",
            "HTTPS": "0",
            "ROBOT_AUTH": "open",
            "NEW_ROBOTS_PER_ADDRESS": "0",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            **run.settings,
        }
        program = self.options.server_command
        return LimitedServer(self.folder, self.limits, program, "--workers", str(run.workers), **settings)
