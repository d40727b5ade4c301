"""Give frames their time: the wall clock at the start plus the time that has elapsed since, whatever sets the clock."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from . import system
from .encoding import unix_seconds

STEP_S = 0.05


@dataclass
class TimeBase:
    """The unix time `wall_s` at the moment `elapsed_s` of the elapsed clock of one boot of the machine.

    It is fixed once a frame that uses it may have been sent: a frame that is sent again must have the same time.
    `last_s` is the time of its last frame, in seconds since the base; `ahead_s` is what the wall clock was ahead of the
    base when a step was last looked for.
    """

    boot: str | None
    wall_s: float
    elapsed_s: float
    is_fixed: bool = False
    last_s: float = 0.0
    ahead_s: float = 0.0

    def time_s(self, since_s: float) -> float:
        """Return the unix time of a moment, which is given in seconds since the base."""
        return self.wall_s + since_s

    @property
    def key(self) -> tuple[str | None, float]:
        """Return the moment of the base, which never changes."""
        return self.boot, self.elapsed_s

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Clock:
    """The time base of one session, and the detector of steps of the wall clock. Tests pass the two clocks."""

    def __init__(
        self,
        base: TimeBase | None = None,
        wall_and_elapsed: Callable[[], tuple[float, float]] = system.wall_and_elapsed,
        elapsed_s: Callable[[], float] = system.elapsed_s,
    ) -> None:
        self._wall_and_elapsed, self.elapsed_s = wall_and_elapsed, elapsed_s
        self.base = base or TimeBase(system.boot_id(), *wall_and_elapsed())

    def resumed(self, base: TimeBase) -> "Clock":
        """Return a clock that continues the base of an earlier process, if the machine did not reboot since."""
        if self.base.boot is None or self.base.boot != base.boot:
            return self
        return Clock(base, self._wall_and_elapsed, self.elapsed_s)

    def since_s(self) -> float:
        """Return the seconds since the base, by the elapsed clock: the time of a frame that is captured now."""
        return self.elapsed_s() - self.base.elapsed_s

    def now_s(self) -> float:
        """Return the unix time of this session: that of a frame that is captured now."""
        return self.base.time_s(self.since_s())

    def find_step(self) -> float:
        """Return the seconds by which the wall clock was set since the last call; 0 for less than 50 ms.

        A base that is not fixed takes the step over, so all frames that wait get the right time.
        """
        wall_s, elapsed_s = self._wall_and_elapsed()
        ahead_s = wall_s - self.base.time_s(elapsed_s - self.base.elapsed_s)
        step_s, self.base.ahead_s = ahead_s - self.base.ahead_s, ahead_s
        if abs(step_s) <= STEP_S:
            return 0.0
        if not self.base.is_fixed:
            self.set_by(step_s)
        return step_s

    def correct_impossible_time(self, server_time_s: float | None) -> float:
        """Take the server's time if the robot's clock was never set; return the seconds of this step, or 0."""
        if server_time_s is None or unix_seconds(self.now_s()) is not None:
            return 0.0
        step_s = server_time_s - self.now_s()
        self.set_by(step_s)
        return step_s

    def set_by(self, step_s: float) -> None:
        self.base.wall_s += step_s
        self.base.ahead_s -= step_s
