from collections import defaultdict
from datetime import datetime, timedelta

from django.db import connections, models, transaction
from django.db.models import Count, Exists, ExpressionWrapper, F, Max, OuterRef, Q, Subquery
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Now

from robots.querysets import STALE_AFTER

DELETE_BATCH = 5_000
MAX_DURATIONS = 500


class TeleopSessionQuerySet(models.QuerySet):
    def live(self):
        return self.filter(end_time=None)

    def stale(self):
        """Live, but its holder has not been heard of for 30 s, by the database's clock: its worker was killed."""
        return self.live().filter(updated_at__lt=Now() - STALE_AFTER)

    def overlapping(self, begin: datetime | None = None, end: datetime | None = None):
        """Those that are not over before `begin` and have begun before `end`; a live one is not over."""
        sessions = self if end is None else self.filter(start_time__lt=end)
        return sessions if begin is None else sessions.filter(Q(end_time=None) | Q(end_time__gte=begin))

    def lasting(self, at_least: float | None = None, at_most: float | None = None):
        """Ended, and as long as that in seconds."""
        length = ExpressionWrapper(F("end_time") - F("start_time"), models.DurationField())
        sessions = self.alias(length=length)
        if at_least is not None:
            sessions = sessions.filter(length__gte=timedelta(seconds=at_least))
        return sessions if at_most is None else sessions.filter(length__lte=timedelta(seconds=at_most))

    def with_frame_span(self):
        """Their frame_span read with them: two looks at the unique key each, where the property takes two queries."""
        indexes = self.model.frames.rel.related_model.objects.filter(session=OuterRef("pk")).values("frame_index")
        first, last = (Subquery(indexes.order_by(order)[:1]) for order in ("frame_index", "-frame_index"))
        return self.annotate(frame_span=Coalesce(last - first + 1, 0))

    def with_cameras(self) -> list:
        """These sessions, and the cameras of all in one query."""
        chunks = self.model.videos.rel.related_model.objects.filter(session__in=list(self)).order_by("camera_key")
        cameras = defaultdict(list)
        for session_id, camera in chunks.values_list("session_id", "camera_key").distinct():
            cameras[session_id].append(camera)
        for session in self:
            session.cameras = cameras[session.pk]
        return list(self)

    def seen_by(self, camera: str):
        """Of which that camera has a video."""
        chunks = self.model.videos.rel.related_model.objects
        return self.filter(Exists(chunks.filter(session=OuterRef("pk"), camera_key=camera)))

    def with_tag(self, tag: str):
        if connections[self.db].features.supports_json_field_contains:
            return self.filter(meta_info__tags__contains=[tag])
        # SQLite has no containment; its json_each also takes a tag that stands alone for a list of one.
        has_tag = "EXISTS (SELECT 1 FROM json_each(teleop_teleopsession.meta_info, '$.tags') WHERE value = %s)"
        return self.filter(RawSQL(has_tag, [tag], models.BooleanField()))  # nosec B611 # the tag is a parameter

    def with_quality(self, name: str, **bounds: float):
        """`with_quality("jerk", lte=1000)`; not those where it is null, which PostgreSQL has before any number."""
        found = self.filter(**{f"quality__{name}__{lookup}": bound for lookup, bound in bounds.items()})
        return found.exclude(**{f"quality__{name}": None})

    def quality_due(self):
        return self.filter(end_time__isnull=False, quality__isnull=True).order_by("-start_time", "-id")

    def durations_s(self, task: str) -> list[float]:
        """Of the newest ended sessions of this task that have frames."""
        ended = self.filter(end_time__isnull=False, frame_count__gt=0, meta_info__task=task)
        moments = ended.order_by("-start_time", "-id").values_list("start_time", "end_time")[:MAX_DURATIONS]
        return [(end - start).total_seconds() for start, end in moments]

    def beside(self, session):
        """The one before it and the one after it in the order of the lists, newest first; None where it is the last."""
        # Not `newer OR as new and ...`: the index would be read from its end.
        newer = self.filter(start_time__gte=session.start_time).exclude(
            start_time=session.start_time, pk__lte=session.pk
        )
        older = self.filter(start_time__lte=session.start_time).exclude(
            start_time=session.start_time, pk__gte=session.pk
        )
        return newer.order_by("start_time", "pk").first(), older.order_by("-start_time", "-pk").first()

    def finish(self) -> int:
        """Ends these sessions as their stored frames say: frame_count, start_time, end_time; returns how many.

        Where there are no frames, the start stays when it connected, and is the end too. Their quality is due.
        """
        frames = self.model.frames.rel.related_model.objects.filter(session=OuterRef("pk"))
        first = Subquery(frames.order_by("frame_index").values("timestamp")[:1])
        last = Subquery(frames.order_by("-frame_index").values("timestamp")[:1])
        count = frames.order_by().values("session").annotate(count=Count("*")).values("count")
        return self.update(
            frame_count=Coalesce(Subquery(count), 0),
            start_time=Coalesce(first, F("start_time")),
            end_time=Coalesce(last, F("start_time")),
            updated_at=Now(),
            quality=None,
        )

    def hold(self, robot, key: str, holder: str):
        """The robot's session of that key, made if there is none, live and in this holder's hands, and who held it.

        Two that come at once: the row lock lets the last one have it, and each learns whom it replaced.
        """
        with transaction.atomic():
            session, created = self.select_for_update().get_or_create(robot=robot, key=key, defaults={"holder": holder})
            previous = "" if created else session.holder
            if not created:
                self.filter(pk=session.pk).update(holder=holder, end_time=None, quality=None, updated_at=Now())
        if session.is_live and not created:  # its last worker may have been killed before it wrote the count down
            session.frame_count = session.frames.count()
        return session, previous

    def give_back(self, session, holder: str) -> None:
        """Undoes `hold`, if no one else has come since; `session` is as `hold` has returned it."""
        mine = self.filter(pk=session.pk, holder=holder)
        if session.is_live and session.holder != holder:
            mine.update(holder=session.holder)
        else:
            mine.finish()

    def held_by(self, holds):
        """Those of these (session_id, holder) that still are; by their primary keys, as holder has no index."""
        return self.filter(pk__in=[each.session_id for each in holds], holder__in=[each.holder for each in holds])

    def delete(self):
        """Session by session, as each removes its frames in batches; raises SessionIsLive before anything is gone."""
        sessions = list(self)
        for session in sessions:
            session.check_not_live()
        for session in sessions:
            session.delete()
        return len(sessions), {self.model._meta.label: len(sessions)}

    delete.alters_data = True
    delete.queryset_only = True


class TeleopFrameQuerySet(models.QuerySet):
    def next_index(self) -> int:
        """The highest frame_index + 1; of one session it is read from the end of the unique key."""
        highest = self.aggregate(highest=Max("frame_index"))["highest"]
        return 0 if highest is None else highest + 1

    def delete_in_batches(self) -> int:
        """Of one session, in short transactions and past the ORM's collector: a million frames hold no lock for long.

        Each batch begins where the last has ended. From the session's beginning it would pass all that is deleted and
        not yet vacuumed, again and again: 400,000 frames took 14 s in place of 2.4 (PostgreSQL).
        """
        deleted, rest = 0, self
        while (last := rest._nth_index(DELETE_BATCH)) is not None:
            deleted += rest.filter(frame_index__lte=last)._raw_delete(self.db)
            rest = self.filter(frame_index__gt=last)
        return deleted + rest._raw_delete(self.db)

    def _nth_index(self, nth: int) -> int | None:
        return next(iter(self.order_by("frame_index").values_list("frame_index", flat=True)[nth - 1 : nth]), None)
