from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import models, transaction
from django.db.models.functions import Now
from django.utils.functional import cached_property

from robots import audit
from robots.models import Robot
from teleop.background.models import Job  # noqa: F401 - Django finds a model here
from teleop.fields import OrderedJSONField
from teleop.label_columns import MAX_LABEL, LabelBoolean, LabelList, LabelText
from teleop.quality.ranges import judge
from teleop.querysets import DeletedSessionQuerySet, Films, TeleopFrameQuerySet, TeleopSessionQuerySet
from teleop.review.models import SavedFilter, TaskRange  # noqa: F401 - Django finds models here
from teleop.webhooks.models import AnnouncedStatus, Webhook, WebhookDelivery  # noqa: F401 - Django finds models here

STAFF_LABELS = ("task", "success", "tags", "operator", "note")
MARKS, MAX_MARKS = "marks", 1000  # in meta_info; only people change it
TRIMS = ("trim_start", "trim_end")  # kinds of marks: where an export of the session begins, and where it ends
PULSE_FRAMES = 300  # 5 s at 60 frames a second


def label(expression, output_field: models.Field) -> models.GeneratedField:
    """Return a column with a label of meta_info, which the database keeps equal to it."""
    return models.GeneratedField(expression=expression, output_field=output_field, db_persist=True, null=True)


class SessionIsLive(Exception):
    """A live session cannot be deleted, as its robot would continue to stream to a missing session."""


class LabelChanged(Exception):
    """Another client changed meta_info after this client had read it."""


class TooManyMarks(Exception):
    """A session has MAX_MARKS marks; they are bounded, as each change reads and writes all of them."""


class MarksReversed(Exception):
    """The mark trim_start is not before the mark trim_end."""

    def __init__(self, start: float, end: float):
        super().__init__(f"trim_start is at {start}, and trim_end at {end}; trim_start before trim_end expected")


class Pulse(NamedTuple):
    """The rate and the skew of the newest frames.

    rate_hz is frames a second by their timestamps. skew_s is the newest timestamp less the database's clock (negative:
    the robot's clock is behind, or the frame is late). Each is None if there are too few frames.
    """

    rate_hz: float | None
    skew_s: float | None


class TeleopSession(models.Model):
    """One recording of one robot; its client chooses `key`, and resumes the session by this key."""

    id = models.AutoField(primary_key=True)  # 4 bytes, as every frame stores it
    # The unique key begins with robot, so a separate index would be redundant.
    robot = models.ForeignKey(Robot, models.PROTECT, related_name="sessions", db_index=False)
    key = models.CharField(max_length=64)
    start_time = models.DateTimeField(db_default=Now())
    end_time = models.DateTimeField(null=True, blank=True)
    fps = models.IntegerField(default=60)
    frame_count = models.IntegerField(default=0)
    meta_info = models.JSONField(null=True, blank=True)
    # Keys of meta_info that staff have set; later values from the robot are ignored.
    staff_labels = models.JSONField(default=list, blank=True, editable=False)
    # The connection that has the session now (or had it last). Only it writes end_time, frame_count and presence.
    holder = models.CharField(max_length=64, blank=True, default="", editable=False)
    # By the database's clock. The holder's heartbeat sets it too: a live session without an update for 30 s is stale.
    updated_at = models.DateTimeField(db_default=Now(), editable=False)
    # Steps of the robot's clock (teleop/clock_steps.py), and the duration of an ended session without them. NULL: none.
    clock_steps = models.JSONField(null=True, blank=True, editable=False)
    steady_duration = models.DurationField(null=True, blank=True, editable=False)
    # Defined in teleop/quality/scores.py. NULL: it is not computed yet, or the session was resumed since.
    quality = models.JSONField(null=True, blank=True, editable=False)
    # Indexes that a robot's program reserved and did not use before it restarted, and events beyond MAX_EVENTS.
    skipped_frames = models.IntegerField(default=0, db_default=0, editable=False)
    events_dropped = models.IntegerField(default=0, db_default=0, editable=False)
    # Labels of meta_info, for filters and facets. A value of another type is NULL, and a long text is cut.
    label_task = label(LabelText("task"), models.CharField(max_length=MAX_LABEL))
    label_success = label(LabelBoolean("success"), models.BooleanField())
    label_operator = label(LabelText("operator"), models.CharField(max_length=MAX_LABEL))
    label_tags = label(LabelList("tags"), models.JSONField())
    # How fast the joints move over the session, in bytes (teleop/quality/sparkline.py). NULL: it is not computed yet.
    sparkline = models.BinaryField(null=True, editable=False)
    # When a person moved it to the trash. Lists and exports leave it out; after TRASH_DAYS it is deleted.
    trashed_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TeleopSessionQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["robot", "key"], name="session_key_of_robot")]
        indexes = [
            # The sweep and the query for live sessions read a hundred rows of a hundred thousand. The index does not
            # contain updated_at, so that a heartbeat stays a heap-only update.
            models.Index(fields=["robot"], condition=models.Q(end_time=None), name="live_sessions"),
            models.Index(fields=["-start_time", "-id"], name="sessions_newest_first"),
            models.Index(
                fields=["-start_time", "-id"],
                condition=models.Q(end_time__isnull=False, quality__isnull=True),
                name="sessions_quality_due",
            ),
            # Each facet of /review is counted in one index, without reading the sessions. trashed_at comes last: SQLite
            # would use an index that begins with it for every list, and sort all sessions.
            models.Index(fields=["label_task", "label_success", "trashed_at"], name="sessions_by_task"),
            models.Index(fields=["label_success", "trashed_at"], name="sessions_by_success"),
            models.Index(fields=["label_operator", "trashed_at"], name="sessions_by_operator"),
            models.Index(fields=["robot", "trashed_at"], name="sessions_by_robot"),
            models.Index(fields=["trashed_at"], condition=models.Q(trashed_at__isnull=False), name="sessions_in_trash"),
        ]

    def __str__(self) -> str:
        return f"{self.robot_id} {self.start_time:%Y-%m-%d %H:%M:%S} UTC" if self.start_time else self.robot_id

    @property
    def is_live(self) -> bool:
        return self.end_time is None

    @property
    def labels(self) -> dict:
        """Return the labels, None if a label is missing; a robot may have sent a value of any type."""
        meta = self.meta_info if isinstance(self.meta_info, dict) else {}
        return {name: meta.get(name) for name in STAFF_LABELS}

    @property
    def duration_s(self) -> float | None:
        """Return the time from the first frame to the last, without steps of the clock; None while it is live."""
        if self.is_live:
            return None
        duration = self.end_time - self.start_time if self.steady_duration is None else self.steady_duration
        return duration.total_seconds()

    @property
    def effective_fps(self) -> float | None:
        """Return the stored frames a second; None while the session is live, as frame_count lags behind then."""
        return (self.frame_count - 1) / self.duration_s if self.duration_s and self.frame_count else None

    @property
    def missing_frames(self) -> int | None:
        """Return the number of indexes that are neither stored nor skipped; None while the session is live."""
        return None if self.is_live else max(0, self.frame_span - self.frame_count - self.skipped_frames)

    @cached_property
    def frame_span(self) -> int:
        """Return the number of frames if none were missing; a list reads it with its sessions."""
        return TeleopFrame.objects.spans([self.pk])[self.pk]

    @cached_property
    def cameras(self) -> list[str]:
        """Return the cameras with videos; a list reads them, and the posters, for all its sessions."""
        return self.films.cameras

    @property
    def poster(self) -> str | None:
        return self.films.poster

    @cached_property
    def films(self) -> Films:
        return TeleopSession.objects.films([self.pk])[self.pk]

    @cached_property
    def task_range(self) -> TaskRange | None:
        """Return the usual ranges of the task; a list reads them for all its sessions."""
        return TaskRange.objects.filter(task=self.label_task).first() if self.label_task else None

    @property
    def judgement(self) -> dict[str, str | None]:
        """Return each number of the quality compared with the usual range of the task."""
        return judge(self.quality, self.usual_ranges)

    @property
    def usual_ranges(self) -> dict[str, list[float]]:
        return self.task_range.ranges if self.task_range else {}

    def pulse(self) -> Pulse:
        moments = self.frames.newest_times(PULSE_FRAMES)
        if not moments:
            return Pulse(None, None)
        (last, now), (first, _) = moments[0], moments[-1]
        seconds = (last - first).total_seconds()
        return Pulse((len(moments) - 1) / seconds if seconds > 0 else None, (last - now).total_seconds())

    def keep_quality(
        self, quality: dict, ends: tuple[float, float] | None = None, sparkline: bytes | None = None
    ) -> bool:
        """Save the quality, unless the session was resumed since it was read, which changed its end or its frames.

        `ends` are the least and the greatest timestamp of all its frames, in unix seconds. They correct the times that
        ingest has saved: it misses a step of the clock if its worker is killed before the next heartbeat.
        """
        changes: dict[str, Any] = {"quality": quality, "sparkline": sparkline, "updated_at": Now()}
        if ends:
            changes["start_time"], changes["end_time"] = (datetime.fromtimestamp(end, UTC) for end in ends)
            changes["clock_steps"] = quality["clock_steps"] or None
            duration = timedelta(seconds=quality["duration_s"])
            changes["steady_duration"] = duration if quality["clock_steps"] else None
        unchanged = TeleopSession.objects.filter(pk=self.pk, end_time=self.end_time, frame_count=self.frame_count)
        with transaction.atomic():
            is_kept = bool(unchanged.update(**changes))
            if is_kept:
                TaskRange.objects.note_changes([self.label_task])
                if self.quality is None:  # it was due, so the session has ended since
                    WebhookDelivery.objects.session_ended(self)
        return is_kept

    def merge_meta(self, changes: dict, by_staff: bool = False) -> None:
        """Merge shallowly; null removes a key. Marks are not merged.

        A robot does not change a label (STAFF_LABELS) that staff have set. Only the fields change: the caller holds the
        row's lock and saves.
        """
        meta, labels = dict(self.meta_info or {}), set(self.staff_labels)
        for name, value in changes.items():
            if by_staff and name in STAFF_LABELS:
                labels.add(name)
            elif name in labels or name == MARKS:
                continue
            if value is None:
                meta.pop(name, None)
            else:
                meta[name] = value
        self.meta_info, self.staff_labels = meta, sorted(labels)

    @property
    def peoples_meta(self) -> set[str]:
        """Return the keys of meta_info that people have set; the robot may neither change nor see these keys."""
        return {MARKS, *self.staff_labels}

    @property
    def meta_of_robot(self) -> dict:
        return {name: value for name, value in (self.meta_info or {}).items() if name not in self.peoples_meta}

    @property
    def marks(self) -> list[dict]:
        """Return the moments that people marked, oldest first.

        They are `{"timestamp": unix s, "note": str, "by": username}`; a mark that trims the session has a `kind` too.
        """
        return (self.meta_info or {}).get(MARKS, [])

    def set_marks(self, marks: list[dict]) -> None:
        """Set the marks, in the field only, like merge_meta; raises TooManyMarks, MarksReversed."""
        start, end = (next((mark for mark in marks if mark.get("kind") == kind), None) for kind in TRIMS)
        if start and end and start["timestamp"] >= end["timestamp"]:
            raise MarksReversed(start["timestamp"], end["timestamp"])
        if len(marks) > MAX_MARKS:
            raise TooManyMarks(f"session {self.pk} has {MAX_MARKS} marks, the maximum; remove one first")
        self.meta_info = (self.meta_info or {}) | {MARKS: sorted(marks, key=lambda mark: mark["timestamp"])}

    def check_meta_is(self, seen: dict) -> None:
        """Raise LabelChanged if a key differs from `seen`; the caller holds the row's lock."""
        meta = self.meta_info or {}
        if changed := [name for name, value in seen.items() if meta.get(name) != value]:
            raise LabelChanged(
                f"session {self.pk}: someone else has changed {', '.join(changed)}; read the session again"
            )

    def save_meta(self) -> None:
        """Save the merged meta_info; the new updated_at lets clients find the change."""
        self.updated_at = Now()
        self.save(update_fields=["meta_info", "staff_labels", "updated_at"])
        self.refresh_from_db(fields=["updated_at", "label_task"])

    def set_trashed(self, is_trashed: bool, actor: audit.Actor) -> None:
        """Move the session to the trash or back; the caller holds the row's lock. Raises SessionIsLive."""
        if is_trashed == (self.trashed_at is not None):
            return
        if is_trashed:
            self.check_not_live()
        before, self.trashed_at, self.updated_at = self.trashed_at, Now() if is_trashed else None, Now()
        self.save(update_fields=["trashed_at", "updated_at"])
        self.refresh_from_db(fields=["trashed_at", "updated_at"])
        TaskRange.objects.note_changes([self.label_task])
        audit.record(actor, audit.Action.CHANGED, [self], {"trashed_at": [before, self.trashed_at]})

    def check_not_live(self) -> None:
        if self.is_live:
            raise SessionIsLive(f"session {self.pk} is live; end it first")

    def delete(self, *args, actor: audit.Actor | None = None, **kwargs):
        """Remove the frames in bounded batches, then the videos and the row; raises SessionIsLive.

        With `actor` the transaction that removes the row also adds an entry to the audit log.
        """
        self.check_not_live()
        self.frames.delete_in_batches()
        with transaction.atomic():
            # A running upload holds the row's lock until its video is stored, or it finds no row. This takes the full
            # lock, as the row is deleted: a frame that is inserted meanwhile has to wait, and is refused.
            row = TeleopSession.objects.select_for_update().filter(pk=self.pk).first()
            if actor and row:
                audit.record(actor, audit.Action.DELETED, [self])
            if row:
                DeletedSession.objects.remember(row)
            self.videos.all().delete()  # and their files, which the cascade would not delete
            return super().delete(*args, **kwargs)


class TeleopFrame(models.Model):
    """One moment of a session: `data` is the robot's frame without frame_index and timestamp, in its key order.

    Each index and constraint slows every insert (docs/performance.md), so the unique key serves every query, and the
    session's robot implies the frame's robot.
    """

    id = models.BigAutoField(primary_key=True)
    # Columns from wide to narrow, so that PostgreSQL pads nothing.
    timestamp = models.DateTimeField()
    session = models.ForeignKey(TeleopSession, models.DO_NOTHING, related_name="frames", db_index=False)
    frame_index = models.IntegerField()
    robot = models.ForeignKey(Robot, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False)
    data = OrderedJSONField()

    objects = TeleopFrameQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["session", "frame_index"], name="frame_of_session")]

    def __str__(self) -> str:
        return f"{self.session_id}/{self.frame_index}"


class TeleopEvent(models.Model):
    """An event that the robot's program reported: a mark, a step of its clock, a restart, a fault of a camera."""

    class Kind(models.TextChoices):
        MARK = "mark"
        CLOCK_STEP = "clock_step"
        RESTART = "restart"
        CAMERA = "camera"

    # Ingest locks the session before it stores events. On PostgreSQL the migration adds a constraint with a cascade.
    session = models.ForeignKey(
        TeleopSession, models.CASCADE, related_name="events", db_index=False, db_constraint=False
    )
    event_id = models.CharField(max_length=64)  # chosen by the client, which may send the event again
    kind = models.CharField(max_length=16, choices=Kind)
    timestamp = models.DateTimeField()
    detail = models.JSONField(default=dict)  # its keys by kind: docs/protocol.md
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["session", "event_id"], name="event_of_session")]

    def __str__(self) -> str:
        return f"{self.session_id}/{self.event_id}"


class DeletedSession(models.Model):
    """The key of a deleted session, so that its robot learns that the data that it still has is not wanted any more.

    It counts only while the robot has no session with this key. `manage.py prune` removes it after a year.
    """

    robot_id = models.CharField(max_length=64)  # no foreign key: the robot may be deleted too
    key = models.CharField(max_length=64)
    deleted_at = models.DateTimeField(db_default=Now())

    objects = DeletedSessionQuerySet.as_manager()

    class Meta:
        default_permissions = ()  # no person reads or changes it
        constraints = [models.UniqueConstraint(fields=["robot_id", "key"], name="deleted_key_of_robot")]

    def __str__(self) -> str:
        return f"{self.robot_id} {self.key}"
