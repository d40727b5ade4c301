"""The lease on a piece of background work.

The work itself is found from the data (`Kind.due`), so nothing has to be put into a queue, and no work can get lost.
"""

from datetime import timedelta

from django.db import IntegrityError, models, transaction
from django.db.models import Case, Count, F, Q, Value, When
from django.db.models.functions import Now

LEASE = timedelta(seconds=60)
MAX_ATTEMPTS = 3
STATES = ("running", "waiting", "failed")  # waiting: for another attempt
UNSETTLED = Q(attempts__lt=MAX_ATTEMPTS) | ~Q(holder="")
LOST = "its process was killed, or did not answer for 60 s"


class JobQuerySet(models.QuerySet):
    def unsettled(self):
        return self.filter(UNSETTLED)

    def failed(self):
        return self.filter(attempts__gte=MAX_ATTEMPTS, holder="")

    def with_state(self):
        """Add the text `shown_state`, one of STATES, the same as `Job.state`."""
        running = When(~Q(holder=""), then=Value("running"))
        failed = When(attempts__gte=MAX_ATTEMPTS, then=Value("failed"))
        return self.annotate(shown_state=Case(running, failed, default=Value("waiting")))

    def in_state(self, state: str):
        return self.with_state().filter(shown_state=state)

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of jobs by kind and state."""
        rows = self.with_state().order_by().values_list("kind", "shown_state").annotate(Count("pk"))
        return {(kind, state): count for kind, state, count in rows}

    def to_retry(self):
        return self.filter(attempts__lt=MAX_ATTEMPTS, holder="", free_at__lte=Now()).order_by("free_at", "pk")

    def lost(self):
        """Select jobs whose holder did not renew its lease in time."""
        return self.filter(free_at__lte=Now()).exclude(holder="")

    def fail(self, reason: str, attempts: int, is_final: bool = False) -> bool:
        """Record a failed attempt of the selected job; return whether it was the last one."""
        is_final = is_final or attempts >= MAX_ATTEMPTS
        changes = {"attempts": MAX_ATTEMPTS if is_final else attempts, "free_at": Now() + LEASE * attempts}
        return bool(self.update(holder="", error=reason, progress=None, updated_at=Now(), **changes)) and is_final

    def forget(self, kind: str, object_id: int) -> None:
        """Delete a failed job, as the work was done by a command."""
        self.failed().filter(kind=kind, object_id=object_id).delete()

    def claim(self, kind: str, object_id: int, holder: str) -> "Job | None":
        """Return the job with its lease, or None if another process has it.

        A failed job is done again from the beginning: its object is due, so its data has changed since.
        """
        job = self.filter(kind=kind, object_id=object_id)
        lease = {"holder": holder, "free_at": Now() + LEASE, "progress": None, "updated_at": Now()}
        if self.failed().filter(pk__in=job).update(attempts=1, **lease):
            return job.get()
        if job.to_retry().order_by().update(attempts=F("attempts") + 1, **lease):
            return job.get()
        try:
            with transaction.atomic():
                return self.create(kind=kind, object_id=object_id, attempts=1, **lease)
        except IntegrityError:
            return None


class Job(models.Model):
    """A piece of background work on one object: the process that does it, and the error of the last attempt.

    A row exists from the first attempt until the work is done; a row that remains has failed. Times are the database's.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=20)
    object_id = models.BigIntegerField()
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    # The process that does it, as `host:process id:random`; empty if there is none. No other takes it before free_at.
    holder = models.CharField(max_length=100, blank=True, default="", db_default="")
    free_at = models.DateTimeField(db_default=Now())
    progress = models.FloatField(null=True)  # 0 to 1
    error = models.TextField(blank=True, default="", db_default="")
    updated_at = models.DateTimeField(db_default=Now())

    objects = JobQuerySet.as_manager()

    class Meta:
        app_label = "teleop"
        constraints = [models.UniqueConstraint(fields=["kind", "object_id"], name="job_of_object")]
        indexes = [models.Index(fields=["free_at"], condition=UNSETTLED, name="jobs_unsettled")]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}"

    @property
    def state(self) -> str:
        if self.holder:
            return "running"
        return "failed" if self.attempts >= MAX_ATTEMPTS else "waiting"

    def held(self) -> JobQuerySet:
        """Select this job while its holder has it."""
        return Job.objects.filter(pk=self.pk, holder=self.holder).exclude(holder="")

    def renew(self, progress: float | None) -> bool:
        """Extend the lease; return False if another process has the job now."""
        self.progress = progress
        return bool(self.held().update(free_at=Now() + LEASE, progress=progress, updated_at=Now()))

    def done(self) -> None:
        self.held().delete()

    def give_back(self, reason: str = "", wait: timedelta = timedelta()) -> None:
        """Free the job without counting the attempt. No process takes the job before the time `wait` has passed."""
        changes = {"attempts": F("attempts") - 1, "error": reason, "progress": None}
        self.held().update(holder="", free_at=Now() + wait, updated_at=Now(), **changes)

    def restart(self) -> bool:
        """Let a failed job be done again; return False if it has not failed."""
        return bool(
            Job.objects.failed().filter(pk=self.pk).update(attempts=0, error="", free_at=Now(), updated_at=Now())
        )
