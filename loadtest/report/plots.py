"""Draw line charts as inline SVG, in the page's own colours; pure."""

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 240, 52, 12, 34
COLOURS = ("#3b7dd8", "#d9822b", "#3aa76d", "#c0504d", "#8562b5", "#17a2b8", "#b5a12c", "#d6618f", "#7f7f7f", "#5d6d7e")
Series = dict[str, Sequence[tuple[float, float | None]]]


def line_chart(title: str, x_unit: str, y_unit: str, series: Series, bound: float | None = None) -> str:
    """Draw one chart. `bound` is a dashed line: the target's limit. A point without a value is left out."""
    lines = {name: [(x, y) for x, y in points if y is not None] for name, points in series.items()}
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return ""
    x_most = max(x for points in lines.values() for x, _ in points) or 1
    y_most = nice(max([y for points in lines.values() for _, y in points] + [bound or 0]))
    right, bottom = WIDTH - 10, HEIGHT - BOTTOM

    def at(x: float, y: float) -> str:
        return f"{LEFT + x / x_most * (right - LEFT):.1f},{bottom - y / y_most * (bottom - TOP):.1f}"

    parts = [axis(y_most, bottom, right), label(right, HEIGHT - 6, f"{x_most:g} {x_unit}", "end")]
    if bound is not None:
        parts.append(f'<path d="M{at(0, bound)} L{at(x_most, bound)}" class="bound"/>')
    for colour, points in zip(cycle(len(lines)), lines.values(), strict=True):
        path = " ".join(at(x, y) for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    names = zip(cycle(len(lines)), lines, strict=True)
    legend = "".join(f'<li><i style="background:{colour}"></i>{escape(name)}</li>' for colour, name in names)
    heading = f"<figcaption><b>{escape(title)}</b> ({escape(y_unit)})</figcaption>"
    picture = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    return f'<figure>{heading}{picture}<ul class="legend">{legend}</ul></figure>'


def axis(y_most: float, bottom: float, right: float) -> str:
    """Draw four horizontal lines, each with its value."""
    parts = []
    for step in range(5):
        y = bottom - step / 4 * (bottom - TOP)
        parts.append(f'<path d="M{LEFT},{y:.1f} H{right}" class="grid"/>')
        parts.append(label(LEFT - 6, y + 4, f"{y_most * step / 4:g}", "end"))
    return "".join([*parts, label(LEFT, HEIGHT - 6, "0")])


def label(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def nice(value: float) -> float:
    """Return the next round number that four steps divide evenly."""
    if value <= 0:
        return 1
    power = 10.0 ** (len(f"{value:.0f}") - 1)
    return next(power * factor for factor in (0.4, 0.8, 1, 1.2, 1.6, 2, 3, 4, 6, 8, 10, 20) if power * factor >= value)


def cycle(count: int) -> list[str]:
    return [COLOURS[n % len(COLOURS)] for n in range(count)]
