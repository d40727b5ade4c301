"""Format values for the admin's pages; every value that a robot has sent is shown as text."""

import json
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

NOTHING = "-"
UNITS = [("d", 86400), ("h", 3600), ("min", 60), ("s", 1)]


def moment(at: datetime | None, precision: str = "s") -> str:
    """Format a time to the second or, with `ms`, the millisecond; teleop/localtime.js converts it to local time."""
    if at is None:
        return NOTHING
    utc = at.isoformat(" ", "milliseconds" if precision == "ms" else "seconds").removesuffix("+00:00")
    return format_html('<time class="{}" datetime="{}">{} UTC</time>', precision, at.isoformat(), utc)


def ago(at: datetime | None) -> str:
    if at is None:
        return "never"
    seconds = max(0, (timezone.now() - at).total_seconds())
    unit, size = next((unit for unit in UNITS if seconds >= unit[1]), UNITS[-1])
    return format_html('<time class="ago" datetime="{}">{} {} ago</time>', at.isoformat(), int(seconds // size), unit)


def duration(seconds: float | None) -> str:
    """Format a duration as `12.3 s`, `4:05` or `1:04:05`."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    hours, minutes, seconds = int(seconds // 3600), int(seconds // 60 % 60), int(seconds % 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def fixed(value: float | None, digits: int = 0) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def number(shown: str) -> SafeString:
    """Align a number to the right, so that digits stand below each other."""
    return format_html('<span class="number">{}</span>', shown)


def count(how_many: int, what: str) -> str:
    return f"{how_many:,} {what}{'' if how_many == 1 else 's'}"


def status(name: str, words: str = "") -> SafeString:
    return format_html('<span class="status status-{}">{}</span>', name, words or name)


def link(url: str, text: Any) -> SafeString:
    return format_html('<a href="{}">{}</a>', url, text)


def text(value: Any) -> str:
    """Return a value as text in one line."""
    if value is None:
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def problems(detail: Any) -> str:
    """Join the texts of an APIException's detail, which may be nested in lists and dicts."""
    if isinstance(detail, str):
        return detail
    return "; ".join(map(problems, detail.values() if isinstance(detail, dict) else detail))


def clipped(value: Any) -> SafeString:
    """Show a value in one line of at most 200 characters, and up to 2000 characters on hover."""
    whole = text(value)
    return format_html('<span class="clipped" title="{}">{}</span>', whole[:2000], whole[:200])


def data(value: Any) -> str:
    """Format JSON over several lines, with its keys in the order in which they arrived."""
    if value is None:
        return NOTHING
    return format_html('<pre class="data">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))
