"""The kinds of background work. An app registers its kinds when it is ready; their order is their urgency."""

from collections.abc import Callable
from typing import Any, NamedTuple

from django.db.models import Model, QuerySet

Report = Callable[[float], None]  # called with the progress, 0 to 1


class Unusable(Exception):
    """The work can never succeed; the message gives the reason, as staff read it."""


class Postponed(Exception):
    """The work cannot be done now, as the message says. It waits, and the attempt does not count."""


class Kind(NamedTuple):
    """A kind of work on one object of the database.

    `due` selects the objects that lack the result, the most urgent first. `run` makes and stores the result, in a
    process of its own with the limits below. It may be killed at any moment and run again, so it stores its result at
    the end, under the condition that nobody else has. `give_up` stores that there is no result, with the reason; the
    object is then not due. `cpu_s` is the processor time that one object may take; `memory_bytes` is the memory, of
    every object or of this one. `blocked` returns why no work of this kind can be begun now, such as a full disk.
    `next_due_s` returns in how many seconds the next object is due that is not due now, if the kind knows.
    """

    name: str
    due: Callable[[], QuerySet]
    run: Callable[[Any, Report], None]
    give_up: Callable[[Any, str], None]
    memory_bytes: int | Callable[[Any], int]
    cpu_s: Callable[[Any], float]
    blocked: Callable[[], str | None] = lambda: None
    next_due_s: Callable[[], float | None] = lambda: None

    @property
    def model(self) -> type[Model]:
        return self.due().model

    def memory_of(self, target: Any) -> int:
        return self.memory_bytes(target) if callable(self.memory_bytes) else self.memory_bytes


KINDS: dict[str, Kind] = {}


def register(*kinds: Kind) -> None:
    KINDS.update({kind.name: kind for kind in kinds})
