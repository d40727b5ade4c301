"""The runs to do, with their settings."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loadtest.run.processes import Server

SCENARIOS = ["robots", "report", "mixed"]
DURATION_S = 30


@dataclass(frozen=True)
class Run:
    """The settings of one run, which is one row of the report."""

    database: str
    robots: int
    workers: int = 1
    frames_per_message: int = 1
    duration_s: int = DURATION_S
    scenario: str = "robots"
    settings: dict[str, str] = field(default_factory=dict)  # options for the server, beside its own

    def __str__(self) -> str:
        details = [f"{self.workers} workers"] if self.workers > 1 else []
        details += [f"{self.frames_per_message} frames a message"] if self.frames_per_message > 1 else []
        details += [f"{self.duration_s} s"] if self.duration_s != DURATION_S else []
        details += [f"users: {self.scenario}"] if self.scenario != "robots" else []
        details += [f"{name.removeprefix('INGEST_').lower()} {value}" for name, value in self.settings.items()]
        return ", ".join([f"{self.database}, {self.robots} robots", *details])

    def having(self, **changes: Any) -> "Run":
        return replace(self, **changes)


@dataclass(frozen=True)
class Options:
    """Options that hold for all runs of one command."""

    runs: list[Run]
    cpus: float = 1.0
    memory_bytes: int = 2**30
    host: str = ""
    token: str = ""
    postgres_url: str = ""
    output: Path = Path("loadtest-report")
    server_command: tuple[str, ...] = Server.program  # tests put sabotaged servers in its place
