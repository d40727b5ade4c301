"""Token buckets: the amount that one name may use at once, and a second on average."""

import time
from collections.abc import Callable

MAX_NAMES = 10_000


class Budget:
    """A token bucket. `burst` may be spent at once. The bucket refills at `per_s` a second, and may be overdrawn."""

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic):
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._full_at = clock()

    def spend(self, amount: float) -> None:
        self._full_at = max(self._full_at, self._clock()) + amount / self._per_s

    def wait_s(self, amount: float = 0) -> float:
        """Return the seconds until `amount` can be spent, or until the budget is not overdrawn any more."""
        return max(0.0, self._full_at - self._clock() + (amount - self._burst) / self._per_s)

    @property
    def is_full(self) -> bool:
        return self._full_at <= self._clock()


class Budgets:
    """A budget for each name. A budget outlives the connections that spend it."""

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic):
        self._new = lambda: Budget(per_s, burst, clock)
        self._budgets: dict[str, Budget] = {}

    def of(self, name: str) -> Budget:
        if name not in self._budgets:
            if len(self._budgets) >= MAX_NAMES:  # remove full budgets: new ones are equal
                self._budgets = {name: budget for name, budget in self._budgets.items() if not budget.is_full}
            self._budgets[name] = self._new()
        return self._budgets[name]
