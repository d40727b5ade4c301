"""Write and read results.json, and the details beside it in details.json; pure but for the two files."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("Django", "channels", "daphne", "psycopg", "uvloop", "locust")


def machine(limits: str, databases: set[str]) -> dict[str, Any]:
    return {
        "cpu_model": cpu_model(),
        "cores": psutil.cpu_count(),
        "memory_mb": round(psutil.virtual_memory().total / 2**20),
        "system": f"{platform.system()} {platform.release()}",
        "limits": limits,
        "versions": {
            "Python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
            **{name.split()[0]: name.split()[1] for name in sorted(databases)},
        },
    }


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), os.uname().machine)


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
