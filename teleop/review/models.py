"""What the review of sessions stores besides the sessions: the usual ranges of each task, and saved filters."""

from django.conf import settings
from django.db import models
from django.db.models import F
from django.db.models.functions import Now

from teleop.label_columns import MAX_LABEL

MAX_NAME, MAX_QUERY = 100, 4000


class TaskRangeQuerySet(models.QuerySet):
    def due(self):
        """Select the tasks of which sessions have changed since their ranges were computed."""
        return self.exclude(changes=F("computed")).order_by("pk")

    def read_for(self, sessions) -> None:
        """Set `task_range` of these sessions, with one query for all of them."""
        tasks = {session.label_task for session in sessions} - {None}
        found = {row.task: row for row in self.filter(task__in=tasks)} if tasks else {}
        for session in sessions:
            session.task_range = found.get(session.label_task)

    def note_changes(self, tasks) -> None:
        """Count a change of the sessions of these tasks, so that their ranges are computed again.

        The order is fixed, so that two transactions do not wait for each other.
        """
        for task in sorted({task[:MAX_LABEL] for task in tasks if isinstance(task, str) and task}):
            if not self.filter(task=task).update(changes=F("changes") + 1):
                self.get_or_create(task=task)


class TaskRange(models.Model):
    """The usual range of each number of a task's sessions, such as `{"jerk": [120.5, 980.0]}`."""

    task = models.CharField(max_length=MAX_LABEL, unique=True)
    ranges = models.JSONField(default=dict)
    sessions = models.IntegerField(default=0, db_default=0)  # the number of sessions from which it was computed
    updated_at = models.DateTimeField(null=True)
    # The ranges are due while the two differ: a change that is committed during the computation is not lost.
    changes = models.IntegerField(default=1, db_default=1)
    computed = models.IntegerField(default=0, db_default=0)

    objects = TaskRangeQuerySet.as_manager()

    class Meta:
        app_label = "teleop"
        default_permissions = ()  # only the background work writes it

    def __str__(self) -> str:
        return self.task


class SavedFilter(models.Model):
    """A selection of sessions that a person has named, as the query of the review page."""

    # No constraint in the database: a server older than this table deletes users without a query of this table.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    name = models.CharField(max_length=MAX_NAME)
    query = models.CharField(max_length=MAX_QUERY, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        app_label = "teleop"
        default_permissions = ()  # each person has access to their own
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="saved_filter_of_user")]

    def __str__(self) -> str:
        return self.name
