from datetime import timedelta

from django.db import models, transaction
from django.db.models.functions import Now

STALE_AFTER = timedelta(seconds=30)
DELETE_BATCH = 5_000


class TeleopSessionQuerySet(models.QuerySet):
    def live(self):
        return self.filter(end_time=None)

    def stale(self):
        """Live, but its holder has not been heard of for 30 s, by the database's clock: its worker was killed."""
        return self.live().filter(updated_at__lt=Now() - STALE_AFTER)

    def delete(self):
        """Session by session, as each removes its frames in batches; raises SessionIsLive before anything is gone."""
        sessions = list(self)
        for session in sessions:
            if session.is_live:
                session.delete()
        counts = [session.delete()[0] for session in sessions]
        return sum(counts), {self.model._meta.label: len(counts)}

    delete.alters_data = True
    delete.queryset_only = True


class TeleopFrameQuerySet(models.QuerySet):
    def first_timestamp(self):
        return self.values_list("timestamp", flat=True).first()

    def delete_in_batches(self) -> int:
        """Deletes in short transactions and past the ORM's collector; a session of a million frames holds no lock long."""
        deleted = 0
        while ids := list(self.order_by("frame_index").values_list("pk", flat=True)[:DELETE_BATCH]):
            with transaction.atomic():
                deleted += self.model.objects.filter(pk__in=ids)._raw_delete(self.db)
        return deleted
