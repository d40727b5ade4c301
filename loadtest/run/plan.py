"""The runs to do, with their settings."""

from dataclasses import dataclass, field, replace
from pathlib import Path

SCENARIOS = ["robots", "report", "mixed"]


@dataclass(frozen=True)
class Run:
    """The settings of one run, which is one row of the report."""

    database: str
    robots: int
    workers: int = 1
    frames_per_message: int = 1
    duration_s: int = 30
    scenario: str = "robots"
    settings: dict[str, str] = field(default_factory=dict)  # options for the server, beside its own

    def __str__(self) -> str:
        details = [f"{self.workers} workers"] if self.workers > 1 else []
        details += [f"{self.frames_per_message} frames a message"] if self.frames_per_message > 1 else []
        details += [f"users: {self.scenario}"] if self.scenario != "robots" else []
        details += [f"{name.removeprefix('INGEST_').lower()} {value}" for name, value in self.settings.items()]
        return ", ".join([f"{self.database}, {self.robots} robots", *details])

    def having(self, **changes) -> "Run":
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
    server_command: tuple[str, ...] = ("manage.py", "serve", "--port", "0")  # tests put sabotaged servers in its place
