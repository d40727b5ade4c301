"""--sweep: vary one setting at a time around the server's defaults, to measure flush interval, workers and writer."""

from typing import Any

from loadtest.report.sections import NAMES, Section, number
from loadtest.run.plan import Run

FLUSH_INTERVALS_MS = (5, 20, 50, 100, 200)
WORKERS = (2, 4)


def runs(planned: list[Run]) -> list[Run]:
    """Sweep each database at the largest number of robots among the arguments."""
    most: dict[str, Run] = {}
    for run in planned:
        if run.database not in most or run.robots > most[run.database].robots:
            most[run.database] = run
    return [variant for run in most.values() for variant in variants(run.having(workers=1))]


def variants(run: Run) -> list[Run]:
    return [
        *(run.having(settings={"INGEST_FLUSH_INTERVAL_MS": str(ms)}) for ms in FLUSH_INTERVALS_MS),
        *(run.having(workers=workers) for workers in WORKERS),
        run.having(settings={"INGEST_WRITER": "bulk_create"}),
    ]


def varied(run: dict[str, Any], settings: dict[str, str]) -> str:
    if "INGEST_WRITER" in settings:
        return "writer bulk_create"
    if settings:
        return f"flush every {settings['INGEST_FLUSH_INTERVAL_MS']} ms"
    return f"{run['workers']} workers"


def section(details: list[dict[str, Any]]) -> Section:
    rows = []
    for detail in details:
        row = detail["row"]
        numbers = [number(row[name]) for name in ("rps", "p50_ms", "p95_ms", "cpu")] + [number(detail["db_cpu"])]
        numbers += [number(row[name]) for name in ("memory_mb", "db_connections")]
        run = [NAMES[row["database"]], str(row["robots"]), varied(row, detail["settings"])]
        rows.append([*run, *numbers, str(row["failures"]), row["verdict"]])
    columns = ["database", "robots", "changed setting", "frames/s", "ack median ms", "ack p95 ms", "CPU %"]
    columns += ["database CPU %", "memory MB", "database connections", "failures", "verdict"]
    text = (
        "One setting changes at a time. The others are a flush every 20 ms, 1 worker, and the database's own writer "
        "(COPY on PostgreSQL, one executemany on SQLite). All workers share the CPUs of the server's limit."
    )
    return Section("9.1 Effect of the settings", text, columns, rows)
