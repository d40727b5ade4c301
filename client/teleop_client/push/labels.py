"""Find the labels of an episode in the columns beside LeRobot's own, as exports of the server write them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .dataset_types import DatasetUnusable

# An export writes this task for a session without one, because a trainer needs a text.
NO_TASK = "unlabelled"
LABELS = ("success", "tags", "operator", "start_time")
EXPORTED = "session_key"  # only an export has this column


def labels_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the labels that the row has, without those that are null or of another type."""
    found = {
        "success": row.get("success"),
        "tags": row.get("tags") or None,
        "operator": row.get("operator") or None,
        "start_time": _unix_seconds(row.get("start_time")),
    }
    return {name: value for name, value in found.items() if _is_label(name, value)}


def tasks_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tasks; raise TypeError if they are no texts."""
    tasks = row["tasks"]
    if not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
        raise TypeError("tasks is no list of texts")
    return () if tasks == [NO_TASK] and row.get(EXPORTED) else tuple(tasks)


def task_of(row: Mapping[str, Any], text: Any, name: str) -> tuple[int, str]:
    """Return a task's index and text; `name` names the file in errors."""
    index = row.get("task_index")
    if type(index) is not int or not isinstance(text, str):
        raise DatasetUnusable(
            f"{name} has the task_index {index!r} with the task {text!r}; a number and a text expected"
        )
    return index, text


def _is_label(name: str, value: Any) -> bool:
    if name == "success":
        return isinstance(value, bool)
    if name == "tags":
        return isinstance(value, list) and all(isinstance(tag, str) for tag in value)
    return isinstance(value, float if name == "start_time" else str)


def _unix_seconds(value: Any) -> float | None:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return time.timestamp() if time.tzinfo else None
