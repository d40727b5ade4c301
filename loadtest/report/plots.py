"""Compute the report's line charts, in percent of a plot's width and height; pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

OVER_TIME = (
    ("Frames sent", "frames a second", "rate", None),
    ("Latency p95 over time", "ms", "p95_ms", 100),
    ("Sent and not yet acknowledged", "frames", "lag_frames", None),
    ("CPU of the server", "% of a core", "cpu", 90),
    ("Memory of the server", "MB, all workers", "memory_mb", 200),
    ("CPU of the database", "% of a core", "db_cpu", None),
)
Points = Sequence[tuple[float, float | None]]


class Chart(NamedTuple):
    """A chart as the template draws it. Every run has its place in `lines`, so that its colour is always the same."""

    title: str
    unit: str
    x_end: str
    y_values: list[str]  # of the horizontal lines, from the top
    lines: list[tuple[str, str]]  # each run's name and points
    bound: tuple[str, str] | None  # value and height of the dashed line: the target's limit


def charts(details: list[dict[str, Any]]) -> list[Chart]:
    percentiles = {detail["run"]: list(enumerate(detail["result"]["distribution_ms"])) for detail in details}
    found = [line_chart("Latency by percentile", "ms, up to the slowest", percentiles, 100, x_unit="% of frames")]
    for title, unit, name, bound in OVER_TIME:
        series = {run["run"]: [(second["second"], second[name]) for second in run["seconds"]] for run in details}
        found.append(line_chart(title, unit, series, bound))
    return [chart for chart in found if chart]


def line_chart(
    title: str, unit: str, series: Mapping[str, Points], bound: float | None = None, x_unit: str = "s"
) -> Chart | None:
    """Return a chart, or None without values. A point without a value is left out."""
    known = {name: [(x, y) for x, y in points if y is not None] for name, points in series.items()}
    points = [point for line in known.values() for point in line]
    if not points:
        return None
    x_most = max(x for x, _ in points) or 1
    y_most = round_up(max(1.1 * (bound or 0), *(y for _, y in points)))  # room for the value of the bound

    def height(y: float) -> str:
        return f"{100 - y / y_most * 100:.2f}"

    lines = [(name, " ".join(f"{x / x_most * 100:.2f},{height(y)}" for x, y in line)) for name, line in known.items()]
    y_values = [f"{y_most * step / 4:g}" for step in (4, 3, 2, 1, 0)]
    dashed = None if bound is None else (f"{bound:g}", height(bound))
    return Chart(title, unit, f"{x_most:g} {x_unit}", y_values, lines, dashed)


def round_up(value: float) -> float:
    """Return the next round number that four steps divide evenly."""
    if value <= 0:
        return 1
    power = 10.0 ** (len(f"{value:.0f}") - 1)
    return next(power * factor for factor in (0.4, 0.8, 1, 1.2, 1.6, 2, 3, 4, 6, 8, 10, 20) if power * factor >= value)
