"""Count the sessions of a selection by task, label, robot, operator, tag and camera."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from robots.models import Robot

MAX_VALUES = 50
TOTAL, CAMERA = "total", "camera"
COLUMNS = {
    "task": "label_task",
    "success": "label_success",
    "robot": "robot_id",
    "operator": "label_operator",
    "tag": "label_tags",
}
# The filters of GET /sessions with which a person chooses one of the values.
FILTERS = {name: (name,) for name in (*COLUMNS, CAMERA)} | {"success": ("success", "unlabelled")}
BOOLEANS = {"true": True, "1": True, "false": False, "0": False, None: None}  # as PostgreSQL and SQLite cast them
# Few sessions are in the trash. To look up each chunk's session among all others takes twice as long.
NOT_IN_TRASH = "session_id NOT IN (SELECT id FROM teleop_teleopsession WHERE trashed_at IS NOT NULL)"
IN_SELECTION = "session_id IN (SELECT session_id FROM selection)"

Counts = Mapping[Any, int]


def facets(select: Callable[..., QuerySet], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the number of sessions as `total`, and the values of each facet with theirs, the most frequent first.

    `select(without=names)` returns the selected sessions without these filters, so that the values beside a chosen one
    are counted too. `chosen` are the values of the given filters; they are listed although they may have no session.
    """
    own = [name for name, filters in FILTERS.items() if not chosen.keys().isdisjoint(filters)]
    counts = count(select(), [TOTAL, *(name for name in FILTERS if name not in own)])
    for name in own:
        counts |= count(select(without=FILTERS[name]), [name])
    found = {name: most(counts[name], chosen.get(name)) for name in FILTERS}
    _add_names(found["robot"])
    return {TOTAL: counts[TOTAL][None]} | found


def count(sessions: QuerySet, names: Sequence[str]) -> dict[str, Counts]:
    """Count these sessions by each of these facets; one statement, which makes the selection once.

    The database reads each facet of all sessions from an index of its own. If only a part is selected, an index does
    not help: then it first writes the columns of the selection to a temporary table.
    """
    columns = [COLUMNS[name] for name in names if name in COLUMNS]
    selected, parameters = sessions.order_by().values_list("pk", *columns).query.sql_with_params()
    is_whole = is_unfiltered(sessions)
    is_kept = "NOT MATERIALIZED" if is_whole else "MATERIALIZED"
    parts = " UNION ALL ".join(_part(name, NOT_IN_TRASH if is_whole else IN_SELECTION) for name in names)
    statement = f"WITH selection ({', '.join(['session_id', *columns])}) AS {is_kept} ({selected}) {parts}"
    found: dict[str, list] = {name: [] for name in names}
    with connections[sessions.db].cursor() as cursor:
        cursor.execute(statement, parameters)
        for name, value, number in cursor:
            found[name].append((value, number))
    return {name: _counts(name, rows) for name, rows in found.items()}


def is_unfiltered(sessions: QuerySet) -> bool:
    """Check that these are all sessions except those in the trash."""
    return sessions.query.where == sessions.model.objects.not_trashed().query.where


def _part(name: str, condition: str) -> str:
    """Return the SELECT of one facet: its name, a value as text, and the number of sessions."""
    if name == TOTAL:
        return f"SELECT '{name}', CAST(NULL AS text), count(*) FROM selection"
    if name == CAMERA:
        counted = f"SELECT '{name}', camera_key, count(DISTINCT session_id) FROM videos_videochunk"
        return f"{counted} WHERE {condition} GROUP BY camera_key"  # nosec B608 # a constant
    column = COLUMNS[name]
    return f"SELECT '{name}', CAST({column} AS text), count(*) FROM selection GROUP BY {column}"  # nosec B608 # constants


def _counts(name: str, rows: Iterable[tuple[str | None, int]]) -> Counts:
    if name == "success":
        return {BOOLEANS[value]: number for value, number in rows}
    if name == "tag":
        return _count_tags(rows)
    return dict(rows)


def _count_tags(lists: Iterable[tuple[str | None, int]]) -> Counts:
    """Add up the counts of equal lists, of which there are far fewer than sessions."""
    counts: Counter[str] = Counter()
    for text, number in lists:
        tags = json.loads(text) if text else ()
        counts.update(dict.fromkeys((tag for tag in tags if isinstance(tag, str)), number))
    return counts


def _add_names(values: Sequence[dict]) -> None:
    names = dict(Robot.objects.filter(pk__in=[value["value"] for value in values]).values_list("pk", "name"))
    for value in values:
        value["name"] = names.get(value["value"])


def most(counts: Counts, chosen: Any = None) -> list[dict]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:MAX_VALUES]
    if chosen is not None and chosen not in dict(ranked):
        ranked.append((chosen, counts.get(chosen, 0)))
    return [{"value": value, "count": count} for value, count in ranked]
