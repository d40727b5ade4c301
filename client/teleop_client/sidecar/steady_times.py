"""Turn lerobot's log times, which step when its clock is set, into steady unix times."""

from collections.abc import Callable

# A message that arrives earlier than the fastest before it, by more than this, has a clock that was set forward.
FORWARD_STEP_S = 2.0
_NS = 1_000_000_000


class SteadyTimes:
    """The times of one run of lerobot. `elapsed_s` is a steady clock of this computer.

    `on_step` gets the seconds of each step of lerobot's clock that was taken out.

    All messages of one tick of lerobot's loop have the same log time, and arrive in the order of their log times.
    """

    def __init__(self, on_step: Callable[[float], None], elapsed_s: Callable[[], float]) -> None:
        self._on_step, self._elapsed_s = on_step, elapsed_s
        self._last_ns: int | None = None  # log time, as is the next
        self._ahead_ns = 0  # of the elapsed clock, at the message that had the shortest way
        self._arrived_ns = 0  # elapsed clock
        self._step_ns = 0  # the sum of all steps
        self.late_s = 0.0  # of the last message, compared with the one that had the shortest way

    def unix_s(self, log_time_ns: int) -> float:
        """Return the time of a message of this log time."""
        if log_time_ns != self._last_ns:
            self._advance(log_time_ns)
        return (log_time_ns - self._step_ns) / _NS

    def _advance(self, log_time_ns: int) -> None:
        arrived_ns = round(self._elapsed_s() * _NS)
        ahead_ns = log_time_ns - arrived_ns
        if self._last_ns is None:
            self._ahead_ns = ahead_ns
        elif log_time_ns < self._last_ns or ahead_ns > self._ahead_ns + FORWARD_STEP_S * _NS:
            step_ns = log_time_ns - self._last_ns - max(arrived_ns - self._arrived_ns, 1)
            self._step_ns += step_ns
            self._ahead_ns = ahead_ns
            self._on_step(step_ns / _NS)
        else:
            self._ahead_ns = max(self._ahead_ns, ahead_ns)
        self._last_ns, self._arrived_ns = log_time_ns, arrived_ns
        self.late_s = (self._ahead_ns - ahead_ns) / _NS
