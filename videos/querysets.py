from django.db import models, transaction


class VideoChunkQuerySet(models.QuerySet):
    def overlapping(self, begin: float | None = None, end: float | None = None):
        """Return chunks that end after `begin` and start before `end`, in unix seconds; a touch is no overlap."""
        chunks = self if end is None else self.filter(start_timestamp__lt=end)
        return chunks if begin is None else chunks.filter(end_timestamp__gt=begin)

    def delete(self):
        """Delete chunk by chunk, as each chunk also deletes its file."""
        with transaction.atomic():
            chunks = list(self)
            for chunk in chunks:
                chunk.delete()
        return len(chunks), {self.model._meta.label: len(chunks)}

    delete.alters_data = True
    delete.queryset_only = True
