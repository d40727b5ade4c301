"""Sample once a second the resources that the server, its database and Redis use while robots stream."""

from contextlib import suppress
from typing import Any

import psutil
import psycopg

from loadtest.run.databases import Database
from loadtest.run.processes import Service


class Usage:
    """CPU of a process and its children, including children that have ended."""

    def __init__(self, process: Service | None) -> None:
        self._process = process
        self.used_s = 0.0
        self._last_s = 0.0

    def sample(self) -> tuple[float, float] | None:
        """Return CPU seconds since the last sample, and MB of memory now; None without a process of ours."""
        if self._process is None:
            return None
        total_s, rss = 0.0, 0
        for process in self._process.processes():
            with suppress(psutil.NoSuchProcess):
                total_s += sum(process.cpu_times()[:4])  # its own, and of children that it has waited for
                rss += process.memory_info().rss
        used, self._last_s = total_s - self._last_s, total_s
        self.used_s += used
        return used, rss / 2**20

    def begin(self) -> None:
        self.sample()
        self.used_s = 0.0

    def percent(self, seconds: float, cores: float = 1) -> float | None:
        """Return the CPU since `begin` in percent of so many cores; None without a process of ours."""
        return None if self._process is None else round(self.used_s / seconds / cores * 100, 1)


class Sampler:
    """Peaks and sums over all workers; values of processes that are not ours stay None."""

    def __init__(self, server: Service | None, database: Database | None, redis: Service | None) -> None:
        self._database = database
        self.server, self.db, self.redis = Usage(server), Usage(database.process if database else None), Usage(redis)
        self.is_local = server is not None
        self._busy_s = [0.0, 0.0]  # of all cores, at begin and end
        self.peak_memory_mb: float | None = None
        self.peak_connections: int | None = None

    def begin(self) -> None:
        for usage in (self.server, self.db, self.redis):
            usage.begin()
        self._busy_s[0] = busy_s()

    def second(self) -> dict[str, Any]:
        """Return the numbers of the last second, for the plots: CPU in percent of one core."""
        server, db = self.server.sample(), self.db.sample()
        self.redis.sample()
        if server:
            self.peak_memory_mb = max(self.peak_memory_mb or 0, round(server[1], 1))
        if self._database:
            with suppress(psycopg.Error):  # PostgreSQL has no free connection; other numbers of the run show this
                found = self._database.connections()
                self.peak_connections = found if found is None else max(self.peak_connections or 0, found)
        return {
            "cpu": server and round(server[0] * 100, 1),
            "memory_mb": server and round(server[1], 1),
            "db_cpu": db and round(db[0] * 100, 1),
        }

    def end(self) -> None:
        self._busy_s[1] = busy_s()
        self.second()

    def others_cpu(self, seconds: float, generator_cpu: float) -> float:
        """Return the cores that were busy with work other than this load test."""
        begun, ended = self._busy_s
        ours_s = self.server.used_s + self.db.used_s + self.redis.used_s
        return max(0.0, (ended - begun - ours_s) / seconds - generator_cpu)


def busy_s() -> float:
    """Return the busy seconds of all cores; time that a hypervisor gave to other guests counts too."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
