from django.db import models, transaction
from django.db.models import Case, F, Max, Value, When
from django.db.models.functions import Now

from robots.querysets import STALE_AFTER

DELETE_BATCH = 5_000


class TeleopSessionQuerySet(models.QuerySet):
    def live(self):
        return self.filter(end_time=None)

    def stale(self):
        """Live, but its holder has not been heard of for 30 s, by the database's clock: its worker was killed."""
        return self.live().filter(updated_at__lt=Now() - STALE_AFTER)

    def hold(self, robot, key: str, holder: str):
        """The robot's session of that key, made if there is none, live and in this holder's hands, and who held it.

        Two that come at once: the row lock lets the last one have it, and each learns whom it replaced.
        """
        with transaction.atomic():
            session, created = self.select_for_update().get_or_create(robot=robot, key=key, defaults={"holder": holder})
            previous = "" if created else session.holder
            if not created:
                self.filter(pk=session.pk).update(holder=holder, end_time=None, updated_at=Now())
        return session, previous

    def beat(self, live) -> set[str]:
        """Writes down frame_count and the heartbeat of the live sessions of one worker; returns the holders that
        still hold theirs. Each of `live` has session_id, holder, frame_count and first_timestamp (None: not new).

        A session that another worker took for dead is live again.
        """
        if not live:
            return set()
        count = Case(*[When(pk=each.session_id, then=each.frame_count) for each in live], default=F("frame_count"))
        changes = {"frame_count": count, "end_time": None, "updated_at": Now()}
        if begun := [each for each in live if each.first_timestamp]:
            changes["start_time"] = Case(
                *[When(pk=each.session_id, then=Value(each.first_timestamp)) for each in begun],
                default=F("start_time"),
                output_field=models.DateTimeField(),
            )
        mine = self.filter(holder__in=[each.holder for each in live])
        mine.update(**changes)
        return set(mine.values_list("holder", flat=True))

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

    def first_timestamp(self):
        return self.values_list("timestamp", flat=True).first()

    def delete_in_batches(self) -> int:
        """Deletes in short transactions and past the ORM's collector: a session of a million frames holds no lock long."""
        deleted = 0
        while ids := list(self.order_by("frame_index").values_list("pk", flat=True)[:DELETE_BATCH]):
            deleted += self.model.objects.filter(pk__in=ids)._raw_delete(self.db)
        return deleted
