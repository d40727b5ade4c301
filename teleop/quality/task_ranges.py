"""The usual ranges of each task as background work."""

from django.db.models import QuerySet
from django.db.models.functions import Now

from teleop.background.kinds import Kind, Report
from teleop.models import TaskRange, TeleopSession
from teleop.quality.ranges import usual_ranges

NEWEST_SESSIONS = 500
MEMORY_BYTES, CPU_S = 256 * 2**20, 20


def due() -> QuerySet[TaskRange]:
    return TaskRange.objects.due()


def compute(row: TaskRange, report: Report = lambda progress: None) -> None:
    """Compute the ranges from the newest sessions of the task; delete the row of a task that no session has."""
    unchanged = TaskRange.objects.filter(pk=row.pk)
    changes = unchanged.values_list("changes", flat=True).get()
    sessions = TeleopSession.objects.not_trashed().filter(label_task=row.task, end_time__isnull=False)
    qualities = list(sessions.exclude(quality=None).ordered().values_list("quality", flat=True)[:NEWEST_SESSIONS])
    if not qualities:
        unchanged.filter(changes=changes).delete()
        return
    ranges = {"ranges": usual_ranges(qualities), "sessions": len(qualities), "updated_at": Now()}
    unchanged.update(computed=changes, **ranges)


def give_up(row: TaskRange, reason: str) -> None:
    """Keep the earlier ranges until the next change."""
    TaskRange.objects.filter(pk=row.pk).update(computed=row.changes)


TASK_RANGES = Kind("ranges", due, compute, give_up, MEMORY_BYTES, lambda row: CPU_S)
