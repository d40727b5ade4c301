"""Name sessions and lists in messages, so that people find them."""

from collections.abc import Sequence

from datasets.types import SessionEntry

MAX_LISTED = 12


def name_of(entry: SessionEntry) -> str:
    return f"session {entry.session_id} ({entry.robot}, {entry.start_time[:19].replace('T', ' ')} UTC)"


def list_of(names: Sequence[object]) -> str:
    more = len(names) - MAX_LISTED
    listed = ", ".join(map(str, names[:MAX_LISTED]))
    return f"{listed} and {more} more" if more > 0 else listed
