from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connections, models, transaction
from django.db.models import Count, Exists, Func, Max, Min, OuterRef, Q, Subquery
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Now

from robots import audit
from robots.querysets import STALE_AFTER
from robots.row_locks import RowLockQuerySet
from teleop.clock_steps import span
from teleop.label_columns import MAX_LABEL

DELETE_BATCH = 5_000
MAX_DURATIONS = 500
REMEMBERED = timedelta(days=366)  # deleted sessions, for robots that come back with their data


class Elapsed(Func):
    """The time between two columns, to the microsecond.

    SQLite computes it by itself: Django's difference would call a Python function for each row, which took 0.6 s for
    100,000 sessions in place of 0.2. A text has no fraction if that is 0.
    """

    arity, arg_joiner, template = 2, " - ", "(%(expressions)s)"
    output_field = models.DurationField()
    seconds = "CAST(round((julianday(substr({0}, 1, 19)) - julianday(substr({1}, 1, 19))) * 86400) AS integer)"
    fraction = "CAST(substr(substr({0}, 21) || '000000', 1, 6) AS integer)"

    def as_sqlite(self, compiler, connection):
        end, start = (compiler.compile(column)[0] for column in self.get_source_expressions())
        end_us, start_us = map(self.fraction.format, (end, start))
        return f"({self.seconds.format(end, start)} * 1000000 + {end_us} - {start_us})", []


# TeleopSession.duration_s as an expression of ended sessions.
DURATION = Coalesce("steady_duration", Elapsed("end_time", "start_time"), output_field=models.DurationField())
# The orders of lists of sessions; a live session has no duration, and comes after all others.
LENGTH = Coalesce(DURATION, timedelta(), output_field=models.DurationField())
ORDERS = {
    "newest": ("start_time", True),
    "oldest": ("start_time", False),
    "longest": ("length", True),
    "shortest": ("length", False),
}


class Films(NamedTuple):
    """The cameras with videos of a session, and the address of the first camera's poster."""

    cameras: list[str]
    poster: str | None


class Position(NamedTuple):
    """The place of a session in a list, from 1 on; None if the list does not have it. The neighbours are ids."""

    position: int | None
    total: int
    previous: int | None
    next: int | None


class SessionKeyQuerySet(models.QuerySet):
    """QuerySet of a model with the columns `robot_id` and `key`."""

    def with_keys(self, keys: Sequence[tuple[str, str]]):
        """Select the rows of these (robot_id, session key)."""
        if not keys:
            return self.none()
        # As pairs: `robot IN (...) AND key IN (...)` would look up each robot with each key.
        pairs = "(robot_id, key) IN (VALUES " + ", ".join(["(%s, %s)"] * len(keys)) + ")"
        parameters = [value for pair in keys for value in pair]
        return self.filter(RawSQL(pairs, parameters, models.BooleanField()))  # nosec B611 # the keys are parameters


class DeletedSessionQuerySet(SessionKeyQuerySet):
    def remember(self, session) -> None:
        """Note that this session is deleted, again if an earlier session with its key was."""
        row = self.model(robot_id=session.robot_id, key=session.key, deleted_at=Now())
        names = ["robot_id", "key"]
        self.bulk_create([row], update_conflicts=True, update_fields=["deleted_at"], unique_fields=names)

    def outdated(self):
        return self.filter(deleted_at__lt=Now() - REMEMBERED)


class TeleopSessionQuerySet(SessionKeyQuerySet, RowLockQuerySet):
    def live(self):
        return self.filter(end_time=None)

    def stale(self):
        """Select live sessions without a heartbeat for 30 s, by the database's clock: the worker was killed."""
        return self.live().filter(updated_at__lt=Now() - STALE_AFTER)

    def held(self):
        """Select live sessions whose worker is alive: the others of them are stale."""
        return self.live().filter(updated_at__gte=Now() - STALE_AFTER)

    def overlapping(self, begin: datetime | None = None, end: datetime | None = None):
        """Select sessions that end at or after `begin` and start before `end`; a live session has no end yet."""
        sessions = self if end is None else self.filter(start_time__lt=end)
        return sessions if begin is None else sessions.filter(Q(end_time=None) | Q(end_time__gte=begin))

    def lasting(self, at_least: float | None = None, at_most: float | None = None):
        """Select ended sessions with a duration between these bounds, in seconds."""
        sessions = self.alias(length=DURATION)
        if at_least is not None:
            sessions = sessions.filter(length__gte=timedelta(seconds=at_least))
        return sessions if at_most is None else sessions.filter(length__lte=timedelta(seconds=at_most))

    def with_frame_span(self):
        """Read frame_span with these sessions: two lookups in the unique key each, in place of a query each."""
        return self.annotate(frame_span=apps.get_model("teleop", "TeleopFrame").objects.span_of_outer_session())

    def films(self, session_ids: Iterable[int]) -> dict[int, Films]:
        """Return the cameras and the poster of each of these sessions; one query."""
        chunks = apps.get_model("videos", "VideoChunk").objects.filter(session__in=list(session_ids))
        cameras = chunks.order_by("session", "camera_key").values_list("session_id", "camera_key")
        found = defaultdict(list)
        for session_id, *camera in cameras.annotate(poster=Min("pk", filter=Q(poster_size__gt=0))):
            found[session_id].append(camera)
        return {session_id: _films(found[session_id]) for session_id in session_ids}

    def with_cameras(self) -> list:
        """Return these sessions, and read the cameras and posters of all of them in one query."""
        sessions = list(self)
        read_films(sessions)
        return sessions

    def seen_by(self, camera: str):
        """Select sessions that have a video of this camera."""
        chunks = apps.get_model("videos", "VideoChunk").objects
        return self.filter(Exists(chunks.filter(session=OuterRef("pk"), camera_key=camera)))

    def with_tag(self, tag: str):
        if connections[self.db].features.supports_json_field_contains:
            return self.filter(label_tags__contains=[tag])
        # SQLite has no containment operator.
        has_tag = "EXISTS (SELECT 1 FROM json_each(label_tags) WHERE type = 'text' AND value = %s)"
        return self.filter(RawSQL(has_tag, [tag], models.BooleanField()))  # nosec B611 # the tag is a parameter

    def with_label(self, name: str, value: str):
        """Select by exactly this task or operator; its column has the first MAX_LABEL characters of it."""
        found = self.filter(**{f"label_{name}": value[:MAX_LABEL]})
        return found if len(value) <= MAX_LABEL else found.filter(**{f"meta_info__{name}": value})

    def not_trashed(self):
        return self.filter(trashed_at=None)

    def in_trash(self):
        return self.filter(trashed_at__isnull=False)

    def with_quality(self, name: str, **bounds: float):
        """Select by `with_quality("jerk", lte=1000)`, without null, which PostgreSQL orders before any number."""
        found = self.filter(**{f"quality__{name}__{lookup}": bound for lookup, bound in bounds.items()})
        return found.exclude(**{f"quality__{name}": None})

    def quality_due(self):
        return self.filter(end_time__isnull=False, quality__isnull=True).order_by("-start_time", "-id")

    def durations_s(self, task: str) -> list[float]:
        """Return the durations of the newest ended sessions of this task that have frames."""
        ended = self.not_trashed().with_label("task", task).filter(end_time__isnull=False, frame_count__gt=0)
        durations = ended.order_by("-start_time", "-id").values_list(DURATION, flat=True)[:MAX_DURATIONS]
        return [duration.total_seconds() for duration in durations]

    def ordered(self, order: str = "newest"):
        """Order by one of ORDERS; of equal sessions the one with the higher id comes first if it is descending."""
        column, descends = ORDERS[order]
        sessions = self.alias(length=LENGTH) if column == "length" else self
        return sessions.order_by(*(f"-{name}" if descends else name for name in (column, "pk")))

    def beside(self, session, order: str = "newest") -> tuple:
        """Return the sessions before and after this one in this order, as two querysets, the nearest first."""
        column, descends = ORDERS[order]
        sessions = self.alias(length=LENGTH)
        at = session.start_time if column == "start_time" else timedelta(seconds=session.duration_s or 0)
        # Not `newer OR as new and ...`: the database would read the index from its end.
        greater = sessions.filter(**{f"{column}__gte": at}).exclude(**{column: at, "pk__lte": session.pk})
        less = sessions.filter(**{f"{column}__lte": at}).exclude(**{column: at, "pk__gte": session.pk})
        greater, less = greater.order_by(column, "pk"), less.order_by(f"-{column}", "-pk")
        return (greater, less) if descends else (less, greater)

    def position(self, session, order: str = "newest") -> Position:
        """Return the place of this session among the selected ones, and its neighbours."""
        before, after = self.beside(session, order)
        is_selected = self.filter(pk=session.pk).exists()
        nearest = (sessions.values_list("pk", flat=True).first() for sessions in (before, after))
        return Position(before.count() + 1 if is_selected else None, self.count(), *nearest)

    def finish(self, bounds: Mapping[int, tuple] | None = None) -> int:
        """End these sessions with the values from their stored frames; return the number of ended sessions.

        `bounds` are frame_count, first and last timestamp by session, as TeleopFrameQuerySet.bounds returns them;
        without `bounds` they are read here. A session without frames ends when it began. The quality of the sessions is
        due. A session is not changed if another client has locked its row.
        """
        if bounds is None:
            bounds = self.model.frames.rel.related_model.objects.bounds(list(self.values_list("pk", flat=True)))
        with transaction.atomic(savepoint=False):
            locked = self.filter(pk__in=bounds).lock_available().values_list("pk", "start_time", "clock_steps")
            rows = []
            for pk, started, clock_steps in locked:
                count, first, last = bounds[pk]
                rows.append((pk, count, *span(first or started, last or started, clock_steps)))
            columns = ("frame_count", "start_time", "end_time", "steady_duration")
            self.update_each(columns, rows, also="updated_at = {now}, quality = NULL")
        return len(rows)

    def held_by(self, holds):
        """Select the sessions that these holders still hold; by primary key, as holder has no index."""
        return self.filter(pk__in=[lease.session_id for lease in holds], holder__in=[lease.holder for lease in holds])

    def delete(self, actor: audit.Actor | None = None):
        """Delete session by session, as each removes its frames in batches; raises SessionIsLive before any delete."""
        sessions = list(self)
        for session in sessions:
            session.check_not_live()
        for session in sessions:
            session.delete(actor=actor)
        return len(sessions), {self.model._meta.label: len(sessions)}

    delete.alters_data = True
    delete.queryset_only = True


def read_films(sessions: Sequence[Any]) -> None:
    """Set the cameras and posters of these sessions, with one query for all of them."""
    found = sessions[0].__class__.objects.films([session.pk for session in sessions]) if sessions else {}
    for session in sessions:
        session.films = found[session.pk]


def _films(cameras: Sequence[tuple[str, int | None]]) -> Films:
    posters = [poster for _, poster in cameras if poster is not None]
    return Films([camera for camera, _ in cameras], f"/videos/{posters[0]}/poster" if posters else None)


class TeleopFrameQuerySet(models.QuerySet):
    """All queries for the index, the time and the number of frames.

    teleop/frames reads their `data`. A later storage format changes these two places
    (teleop/tests/test_frame_access.py).
    """

    def of_session(self, session_id: int):
        return self.filter(session_id=session_id)

    def from_index(self, frame_index: int):
        return self.filter(frame_index__gte=frame_index)

    def up_to_id(self, frame_id: int):
        return self.filter(pk__lte=frame_id)

    def first_frame(self) -> models.Model | None:
        """Return the frame with the lowest index, or None."""
        return self.order_by("frame_index").first()

    def last_frame(self) -> models.Model | None:
        """Return the frame with the highest index, or None."""
        return self.order_by("frame_index").last()

    def newest_frame(self) -> models.Model | None:
        """Return the frame that was stored last, or None."""
        return self.order_by("pk").last()

    def next_index(self) -> int:
        """Return the highest frame_index + 1, or 0. Of one session, it is read from the end of the unique key."""
        highest = self.aggregate(highest=Max("frame_index"))["highest"]
        return 0 if highest is None else highest + 1

    def next_indexes(self, session_ids: Iterable[int]) -> dict[int, int]:
        """Return the highest frame_index + 1 of each of these sessions; 0 for a session without frames.

        One statement: for each session PostgreSQL reads one entry at the end of the unique key.
        """
        return self._of_each(session_ids, 0, Coalesce(self._of_outer_session("-frame_index", "frame_index") + 1, 0))

    def lasts(self, session_ids: Iterable[int]) -> dict[int, tuple[int | None, datetime | None]]:
        """Return the highest frame_index of each of these sessions, and the timestamp of that frame."""
        columns = (self._of_outer_session("-frame_index", column) for column in ("frame_index", "timestamp"))
        return self._of_each(session_ids, (None, None), *columns)

    def spans(self, session_ids: Iterable[int]) -> dict[int, int]:
        """Return for each of these sessions the number of its frames if none were missing; one statement."""
        return self._of_each(session_ids, 0, self.span_of_outer_session())

    def span_of_outer_session(self) -> Coalesce:
        """Return the expression of spans(), to annotate sessions with."""
        first = self._of_outer_session("frame_index", "frame_index")
        last = self._of_outer_session("-frame_index", "frame_index")
        return Coalesce(last - first + 1, 0)

    def bounds(self, session_ids: Iterable[int]) -> dict[int, tuple[int, datetime | None, datetime | None]]:
        """Return for each of these sessions: the number of frames, and the timestamps of the lowest and highest index.

        One statement. The count needs only the unique key: where the table is vacuumed, no frame is read for it.
        """
        frames = self.filter(session=OuterRef("pk")).order_by()
        count = Subquery(frames.values("session").annotate(count=Count("*")).values("count"))
        first = self._of_outer_session("frame_index", "timestamp")
        last = self._of_outer_session("-frame_index", "timestamp")
        return self._of_each(session_ids, (0, None, None), Coalesce(count, 0), first, last)

    def timestamps(self, keys: Sequence[tuple[int, int]]) -> dict[tuple[int, int], datetime]:
        """Return the timestamps of the stored frames among these (session_id, frame_index)."""
        if connections[self.db].vendor == "postgresql":
            session_ids, indexes = ([key[place] for key in keys] for place in (0, 1))
            statement = (
                "SELECT f.session_id, f.frame_index, f.timestamp FROM unnest(%s::int[], %s::int[]) "
                "AS k(session_id, frame_index) JOIN teleop_teleopframe f USING (session_id, frame_index)"
            )
            with connections[self.db].cursor() as cursor:
                cursor.execute(statement, [session_ids, indexes])
                return {(session_id, index): timestamp for session_id, index, timestamp in cursor}
        wanted = defaultdict(list)
        for session_id, index in keys:
            wanted[session_id].append(index)
        return {
            (session_id, index): timestamp
            for session_id, indexes in wanted.items()
            for index, timestamp in self.filter(session_id=session_id, frame_index__in=indexes).values_list(
                "frame_index", "timestamp"
            )
        }

    def newest_times(self, limit: int) -> list[tuple[datetime, datetime]]:
        """Return the timestamps of the highest indexes, newest first, each with the database's time of this query."""
        return list(self.order_by("-frame_index").values_list("timestamp", Now())[:limit])

    def count_below(self, session_id: int, frame_index: int) -> int:
        """Count the frames of this session that have a lower frame_index; needs only the unique key."""
        return self.count_between(session_id, 0, frame_index)

    def count_between(self, session_id: int, start: int, stop: int) -> int:
        """Count the frames of this session from index `start` to before `stop`; needs only the unique key."""
        return self.filter(session_id=session_id, frame_index__gte=start, frame_index__lt=stop).count()

    def is_stored(self, session_id: int, frame_index: int) -> bool:
        return self.filter(session_id=session_id, frame_index=frame_index).exists()

    def _of_outer_session(self, order: str, column: str) -> Subquery:
        """Read `column` of the first frame in this order; the session is that of the enclosing query."""
        return Subquery(self.filter(session=OuterRef("pk")).order_by(order).values(column)[:1])

    def _of_each(self, session_ids: Iterable[int], default, *expressions) -> dict:
        """Evaluate expressions for each of these sessions in one statement; `default` if there is no such session."""
        found = dict.fromkeys(session_ids, default)
        sessions = apps.get_model("teleop", "TeleopSession").objects.using(self.db).filter(pk__in=list(found))
        for pk, *values in sessions.values_list("pk", *expressions):
            found[pk] = tuple(values) if len(values) > 1 else values[0]
        return found

    def delete_in_batches(self) -> int:
        """Delete one session's frames in short transactions without the ORM's collector, so that no lock is held long.

        Each batch begins where the last has ended. A batch from the session's beginning would scan all deleted rows
        that are not yet vacuumed, again and again: 400,000 frames took 14 s in place of 2.4 (PostgreSQL).
        """
        deleted, rest = 0, self
        while (last := rest._nth_index(DELETE_BATCH)) is not None:
            deleted += rest.filter(frame_index__lte=last)._raw_delete(self.db)
            rest = self.filter(frame_index__gt=last)
        return deleted + rest._raw_delete(self.db)

    def _nth_index(self, nth: int) -> int | None:
        return next(iter(self.order_by("frame_index").values_list("frame_index", flat=True)[nth - 1 : nth]), None)
