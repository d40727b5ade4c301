"""Compute numbers from lists of numbers; pure."""

from collections.abc import Sequence

BOTTLENECK_CPU = 0.9  # of a core: gevent uses one core, and near 100 % everything in it is late
BOTTLENECK_SLIP_MS = 1000 / 60  # p95: if a frame is late by a whole frame, the load is no longer 60 FPS
BUSY_MACHINE_CPU = 0.25  # of a core: with other work on the same cores, a run measures that work too


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the lowest value that `share` of all do not exceed (nearest rank); None if there are no values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)


def quantiles(values: Sequence[float]) -> dict[str, float | None]:
    ordered = sorted(values)
    return {f"p{q}": rounded(percentile(ordered, q / 100), 2) for q in (50, 95, 99, 100)}


def distribution(values: Sequence[float], points: int = 100) -> list[float]:
    """Return the value at each percent from 0 to 100: a cumulative distribution to plot."""
    ordered = sorted(values)
    return [round(ordered[round(n / points * (len(ordered) - 1))], 2) for n in range(points + 1)] if ordered else []


def bottleneck(cpu: float, slip_p95_ms: float, others_cpu: float = 0.0) -> str | None:
    """Return the reason if the generator or other work on the machine bounded this run, not the server; else None."""
    if cpu > BOTTLENECK_CPU:
        return f"the generator was the bottleneck: it used {cpu:.0%} of its core (more than {BOTTLENECK_CPU:.0%})"
    if others_cpu > BUSY_MACHINE_CPU:
        return f"other processes used {others_cpu:.0%} of a core (more than {BUSY_MACHINE_CPU:.0%})"
    if slip_p95_ms > BOTTLENECK_SLIP_MS:
        late = f"{slip_p95_ms:.0f} ms late at p95 (more than {BOTTLENECK_SLIP_MS:.0f} ms)"
        return f"the generator was the bottleneck: it sent {late}"
    return None
