"""Limit the server to --cpus and --memory: by a cgroup if this process may make one, else by CPU affinity alone."""

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

CGROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
EMPTY_TIMEOUT_S = 5


class Cores(NamedTuple):
    """Cores of the server and of everything else; they overlap if there are too few cores."""

    server: list[int]
    others: list[int]

    @property
    def are_parted(self) -> bool:
        return not set(self.server) & set(self.others)


def cores(cpus: float) -> Cores:
    available = sorted(os.sched_getaffinity(0))
    count = math.ceil(cpus)
    if count >= len(available):
        return Cores(available[:count], available)
    return Cores(available[:count], available[count:])


class Limits:
    """The limits of the server; `description` names the mechanism."""

    def __init__(self, groups: list[Path], server_cores: list[int], description: str, are_whole: bool) -> None:
        self.description = description
        self.are_whole = are_whole
        self._groups = groups
        self._cores = server_cores

    def apply(self, pid: int) -> None:
        """Limit this process and its future children; call it before the process starts any."""
        psutil.Process(pid).cpu_affinity(self._cores)
        for group in self._groups:
            (group / "cgroup.procs").write_text(str(pid))


@contextmanager
def limits(cpus: float, memory_bytes: int, root: Path = CGROUPS) -> Iterator[Limits]:
    server_cores = cores(cpus).server
    quota = cpus != len(server_cores)  # whole cores need no quota: affinity is exact
    affinity = f"affinity to core {', '.join(map(str, server_cores))}"
    groups: list[Path] = []
    try:
        try:
            version = make_groups(root, cpus if quota else None, memory_bytes, groups)
        except OSError as error:
            remove(groups)
            description = f"{affinity} only: no right to make a cgroup ({error.strerror}), memory is not limited"
            yield Limits([], server_cores, description, are_whole=False)
        else:
            parts = [affinity, f"cgroup v{version} of {memory_bytes / 2**20:.0f} MB"]
            parts += [f"a quota of {cpus:g} CPUs"] if quota else []
            yield Limits(groups, server_cores, ", ".join(parts), are_whole=True)
    finally:
        remove(groups)


def make_groups(root: Path, cpus: float | None, memory_bytes: int, made: list[Path]) -> int:
    """Fill `made`; return the cgroup version. Raises OSError without the permission."""
    name = f"teleop-loadtest-{os.getpid()}"
    if (root / "cgroup.controllers").exists():
        (root / "cgroup.subtree_control").write_text("+cpu +memory")
        settings: dict[Path, dict[str, int | str]] = {root: {"memory.max": memory_bytes}}
        if cpus is not None:
            settings[root]["cpu.max"] = f"{cpus * PERIOD_US:.0f} {PERIOD_US}"
    else:
        settings = {root / "memory": {"memory.limit_in_bytes": memory_bytes}}
        if cpus is not None:
            settings[root / "cpu"] = {"cpu.cfs_period_us": PERIOD_US, "cpu.cfs_quota_us": f"{cpus * PERIOD_US:.0f}"}
    for parent, values in settings.items():
        (parent / name).mkdir()
        made.append(parent / name)
        for file, value in values.items():
            (parent / name / file).write_text(str(value))
    return 2 if root in settings else 1


def remove(groups: list[Path]) -> None:
    while groups:
        group, deadline = groups.pop(), time.monotonic() + EMPTY_TIMEOUT_S
        while group.exists() and time.monotonic() < deadline:
            with suppress(OSError):  # the cgroup still holds a process that is ending
                group.rmdir()
                break
            time.sleep(0.05)
