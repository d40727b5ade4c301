"""Sample once a second the resources that the server and its database use while robots stream."""

from contextlib import suppress

import psutil
import psycopg

from loadtest.run.databases import Database
from loadtest.run.processes import Process


class Usage:
    """CPU of a process and its children, including children that have ended."""

    def __init__(self, process: Process | None) -> None:
        self._process = process
        self.is_ours = process is not None
        self.used_s = 0.0
        self._last: dict[int, float] = {}

    def sample(self) -> tuple[float, float] | None:
        """Return CPU seconds since the last sample, and MB of memory now; None without a process of ours."""
        if self._process is None:
            return None
        now, rss = {}, 0
        for each in self._process.family():
            with suppress(psutil.NoSuchProcess):
                now[each.pid] = sum(each.cpu_times()[:2])
                rss += each.memory_info().rss
        used = sum(cpu_s - self._last.get(pid, 0.0) for pid, cpu_s in now.items())
        self._last = now
        self.used_s += used
        return used, rss / 2**20

    def begin(self) -> None:
        self.sample()
        self.used_s = 0.0


class Sampler:
    """Peaks and sums over all workers; values of processes that are not ours stay None."""

    def __init__(self, server: Process | None, database: Database | None) -> None:
        self._database = database
        self._server, self._db = Usage(server), Usage(database.process if database else None)
        self.is_local = server is not None
        self._busy_s = [0.0, 0.0]  # of all cores, at begin and end
        self.peak_memory_mb: float | None = None
        self.peak_connections: int | None = None

    def begin(self) -> None:
        self._server.begin()
        self._db.begin()
        self._busy_s[0] = busy_s()

    def second(self) -> dict:
        """Return the numbers of the last second, for the plots: CPU in percent of one core."""
        server, db = self._server.sample(), self._db.sample()
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
        return max(0.0, (ended - begun - self._server.used_s - self._db.used_s) / seconds - generator_cpu)

    def cpu_percent(self, cpus: float, seconds: float) -> float | None:
        """Return the server's CPU as percent of the CPUs that it may use."""
        return round(self._server.used_s / seconds / cpus * 100, 1) if self._server.is_ours else None

    def db_cpu_percent(self, seconds: float) -> float | None:
        """Return the database's CPU as percent of one core."""
        return round(self._db.used_s / seconds * 100, 1) if self._db.is_ours else None


def busy_s() -> float:
    """Return the busy seconds of all cores; time that a hypervisor gave to other guests counts too."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
