"""The row of a good run, for tests that change one value in it."""

GOOD = {
    "database": "postgres",
    "robots": 50,
    "workers": 1,
    "frames_per_message": 1,
    "duration_s": 30,
    "sent": 90000,
    "acked": 90000,
    "stored": 90000,
    "failures": 0,
    "rps": 3000.0,
    "p50_ms": 15.0,
    "p95_ms": 28.0,
    "send_p95_ms": 0.1,
    "cpu": 30.0,
    "memory_mb": 160.0,
    "db_connections": 4,
    "verdict": "met",
}
MACHINE = {
    "cpu_model": "A CPU",
    "cores": 2,
    "memory_mb": 4096,
    "system": "Linux 6",
    "limits": "affinity to core 0",
    "versions": {"Python": "3.11.7"},
}
QUANTILES = {"p50": 1.0, "p95": 2.0, "p99": 3.0, "p100": 4.0}


def detail(**changes) -> dict:
    """Return the report's input for one run."""
    row = GOOD | changes
    return {
        "run": f"{row['database']}, {row['robots']} robots",
        "scenario": "robots",
        "settings": {},
        "row": row,
        "problems": [],
        "bottleneck": None,
        "db_cpu": 12.0,
        "redis_cpu": None,
        "others_cpu": 0.02,
        "seconds": [
            {"second": n, "rate": 3000, "p95_ms": 28.0, "lag_frames": 60, "cpu": 30.0, "memory_mb": 160.0}
            | {"db_cpu": 12.0}
            for n in (1, 2, 3)
        ],
        "result": {
            "failures": {},
            "api_failures": {},
            "api_ms": {"/health": QUANTILES},
            "distribution_ms": [float(n) for n in range(101)],
            "generator": {"cpu": 0.3, "slip_ms": QUANTILES},
        },
    }
