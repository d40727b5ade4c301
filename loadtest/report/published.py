"""The numbers that the report published of its server (FastAPI, SQLAlchemy), and the targets for ours.

The report's latencies are the time of the client's send() alone: its server acknowledges nothing.
"""

from typing import NamedTuple


class Published(NamedTuple):
    rate_percent: float  # of 60 frames a second a robot
    p95_ms: float  # of send()
    failures_percent: float
    note: str = ""
    connections: int | None = None


PUBLISHED = {
    ("sqlite", 10): Published(97, 35, 0),
    ("sqlite", 30): Published(81, 180, 2.3, "impossible"),
    ("sqlite", 50): Published(40, 2500, 15.2, "out of memory"),
    ("postgres", 10): Published(99, 24, 0),
    ("postgres", 30): Published(98, 52, 0.08),
    ("postgres", 50): Published(95, 82, 0.24, "at the limit"),
    ("postgres", 100): Published(92, 108, 0.47, "2 vCPU", 48),
}
# Table 5.1: robots that one vCPU and 1 GB hold.
PUBLISHED_CAPACITY: dict[str, dict[str, int | None]] = {
    "sqlite": {"stable": 10, "limit": None, "broken": 30},
    "postgres": {"stable": 30, "limit": 50, "broken": 70},
}
PUBLISHED_CPU_PERCENT, PUBLISHED_MEMORY_MB = "76-84", 520


class Target(NamedTuple):
    """Limits of the report's server. Each is an upper bound, except the rate."""

    p95_ms: float
    cpu: float
    memory_mb: float = 200
    db_connections: int = 10
    failures: int = 0
    rate_percent: float = 99.5  # 100, less the error from rounding the times of the first and last ack


def target(database: str, robots: int) -> Target:
    is_small = robots <= 50
    return Target(p95_ms=60 if database == "postgres" and is_small else 100, cpu=60 if is_small else 90)


# --find-max calls the first bound stable and the second the limit; past the second the server counts as broken.
STABLE_P95_MS, STABLE_CPU = 100, 80
LIMIT_P95_MS, LIMIT_FAILURES_SHARE, LIMIT_RATE_PERCENT = 150, 0.01, 95
