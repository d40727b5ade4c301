"""Imports go one way: robots <- teleop <- videos <- datasets; the client and the load test stand apart."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import ROOT

# A package, and the packages that it may not import.
FORBIDDEN = {
    "robots": {"teleop", "videos", "datasets", "loadtest", "client", "tests"},
    "teleop": {"videos", "datasets", "loadtest", "tests"},
    "teleop/ingest": {"teleop.live", "teleop.api", "teleop.frames", "teleop.admin", "teleop.server"},
    "videos": {"datasets", "loadtest", "tests"},
    "datasets": {"loadtest", "tests"},
    "loadtest": {"datasets", "tests"},
    "client/teleop_client": {"robots", "teleop", "videos", "datasets", "loadtest", "django", "tests"},
}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(package: str) -> list[str]:
    forbidden = tuple(f"{name}." for name in FORBIDDEN[package])
    files = [file for file in (ROOT / package).rglob("*.py") if not {"tests", "migrations"} & {*file.parts}]
    assert files
    return [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imports(file)
        if f"{name}.".startswith(forbidden)
    ]


@pytest.mark.once
@pytest.mark.parametrize("package", FORBIDDEN)
def test_it_imports_no_package_above_it(package: str):
    assert violations(package) == []
