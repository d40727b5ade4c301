from typing import NamedTuple

from django.db import models, transaction
from django.db.models.functions import Now
from django.utils.functional import cached_property

from robots import audit
from robots.models import Robot
from teleop.fields import OrderedJSONField
from teleop.querysets import TeleopFrameQuerySet, TeleopSessionQuerySet

STAFF_LABELS = ("task", "success", "tags", "note")
MARKS, MAX_MARKS = "marks", 1000  # of meta_info, and people's alone
PULSE_FRAMES = 300  # 5 s at 60 frames a second


class SessionIsLive(Exception):
    """A live session cannot be deleted: its robot would go on streaming into nothing."""


class LabelChanged(Exception):
    """Someone else was faster: meta_info is not what the one who changes it has seen."""


class TooManyMarks(Exception):
    """There is a bound to what is read and written with each of them."""


class Pulse(NamedTuple):
    """How the newest frames come in: frames a second by their timestamps, and how far the newest one is ahead of the
    database's clock (negative: it is behind, or late). None where there are too few frames to tell.
    """

    rate_hz: float | None
    skew_s: float | None


class TeleopSession(models.Model):
    """One recording of one robot; `key` is the name its client gave it, by which it is resumed."""

    id = models.AutoField(primary_key=True)  # 4 bytes, as it stands in every frame
    # The unique key begins with robot, so an index of its own would be the same again.
    robot = models.ForeignKey(Robot, models.PROTECT, related_name="sessions", db_index=False)
    key = models.CharField(max_length=64)
    start_time = models.DateTimeField(db_default=Now())
    end_time = models.DateTimeField(null=True, blank=True)
    fps = models.IntegerField(default=60)
    frame_count = models.IntegerField(default=0)
    meta_info = models.JSONField(null=True, blank=True)
    # Keys of meta_info that staff have set: what the robot says of them later does not count.
    staff_labels = models.JSONField(default=list, blank=True, editable=False)
    # The connection that has the session now (or had it last). Only it writes end_time, frame_count and presence.
    holder = models.CharField(max_length=64, blank=True, default="", editable=False)
    # By the database's clock; its holder's heartbeat too: a live session that no one updated for 30 s is stale.
    updated_at = models.DateTimeField(db_default=Now(), editable=False)
    # As teleop/quality/scores.py says; NULL: it is not computed yet, or the session was resumed since.
    quality = models.JSONField(null=True, blank=True, editable=False)

    objects = TeleopSessionQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["robot", "key"], name="session_key_of_robot")]
        indexes = [
            # The sweep and "who is live" read a hundred rows of a hundred thousand. updated_at is not in it, so
            # that a heartbeat stays a heap-only update.
            models.Index(fields=["robot"], condition=models.Q(end_time=None), name="live_sessions"),
            models.Index(fields=["-start_time", "-id"], name="sessions_newest_first"),
            models.Index(
                fields=["-start_time", "-id"],
                condition=models.Q(end_time__isnull=False, quality__isnull=True),
                name="sessions_quality_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.robot_id} {self.start_time:%Y-%m-%d %H:%M:%S} UTC" if self.start_time else self.robot_id

    @property
    def is_live(self) -> bool:
        return self.end_time is None

    @property
    def labels(self) -> dict:
        """None where there is none; a robot may have sent what is no label at all."""
        meta = self.meta_info if isinstance(self.meta_info, dict) else {}
        return {name: meta.get(name) for name in STAFF_LABELS}

    @property
    def duration_s(self) -> float | None:
        return None if self.is_live else (self.end_time - self.start_time).total_seconds()

    @property
    def effective_fps(self) -> float | None:
        """Frames a second that are stored; None while it is live, as frame_count is behind its newest frames then."""
        return (self.frame_count - 1) / self.duration_s if self.duration_s and self.frame_count else None

    @property
    def missing_frames(self) -> int | None:
        if self.is_live:
            return None
        return self.frame_span - self.frame_count if self.frame_span else 0

    @cached_property
    def frame_span(self) -> int:
        """How many frames there would be if none were missing; a list reads it with its sessions."""
        return TeleopFrame.objects.spans([self.pk])[self.pk]

    @cached_property
    def cameras(self) -> list[str]:
        return list(self.videos.order_by("camera_key").values_list("camera_key", flat=True).distinct())

    def pulse(self) -> Pulse:
        moments = self.frames.newest_times(PULSE_FRAMES)
        if not moments:
            return Pulse(None, None)
        (last, now), (first, _) = moments[0], moments[-1]
        seconds = (last - first).total_seconds()
        return Pulse((len(moments) - 1) / seconds if seconds > 0 else None, (last - now).total_seconds())

    def keep_quality(self, quality: dict) -> bool:
        """Unless the session was recorded again since it was read, which has changed its end or its frames."""
        unchanged = TeleopSession.objects.filter(pk=self.pk, end_time=self.end_time, frame_count=self.frame_count)
        return bool(unchanged.update(quality=quality, updated_at=Now()))

    def merge_meta(self, changes: dict, by_staff: bool = False) -> None:
        """Merges shallowly, null removes a key; of task, success, tags and note the staff's word is the last, and marks
        are not merged.

        Changes the fields only: the caller holds the row's lock and saves.
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
        """The keys of meta_info that people have set: what its robot may neither change nor see."""
        return {MARKS, *self.staff_labels}

    @property
    def meta_of_robot(self) -> dict:
        return {name: value for name, value in (self.meta_info or {}).items() if name not in self.peoples_meta}

    @property
    def marks(self) -> list[dict]:
        """Moments that people have marked, `{"timestamp": unix s, "note": str, "by": username}`, oldest first."""
        return (self.meta_info or {}).get(MARKS, [])

    def set_marks(self, marks: list[dict]) -> None:
        """Raises TooManyMarks. Changes the field only, as merge_meta does."""
        if len(marks) > MAX_MARKS:
            raise TooManyMarks(f"session {self.pk} has {MAX_MARKS} marks; no more expected")
        self.meta_info = (self.meta_info or {}) | {MARKS: sorted(marks, key=lambda mark: mark["timestamp"])}

    def check_meta_is(self, seen: dict) -> None:
        """Raises LabelChanged; the caller holds the row's lock."""
        meta = self.meta_info or {}
        if changed := [name for name, value in seen.items() if meta.get(name) != value]:
            raise LabelChanged(f"{', '.join(changed)} of session {self.pk} changed since you have seen it")

    def save_meta(self) -> None:
        """What was merged; updated_at tells those who follow the changes."""
        self.updated_at = Now()
        self.save(update_fields=["meta_info", "staff_labels", "updated_at"])
        self.refresh_from_db(fields=["updated_at"])

    def check_not_live(self) -> None:
        if self.is_live:
            raise SessionIsLive(f"session {self.pk} is live; end it first")

    def delete(self, *args, actor: audit.Actor | None = None, **kwargs):
        """Removes the frames in bounded batches, then the videos and the row; raises SessionIsLive.

        With `actor` it goes into the audit log, in the transaction that removes the row.
        """
        self.check_not_live()
        self.frames.delete_in_batches()
        with transaction.atomic():
            # An upload that is under way holds the row's lock until it is among the videos, or finds no row. The full
            # lock, as the row goes: a frame that is inserted meanwhile has to wait, and is refused.
            TeleopSession.objects.select_for_update().filter(pk=self.pk).first()
            if actor:
                audit.record(actor, audit.Action.DELETED, [self])
            self.videos.all().delete()  # and their files, which the cascade would leave
            return super().delete(*args, **kwargs)


class TeleopFrame(models.Model):
    """One moment of a session: `data` is what the robot sent, less frame_index and timestamp, in its key order.

    An index and a constraint cost every insert (docs/performance.md): the unique key serves every query, and the
    session's robot implies the frame's.
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
