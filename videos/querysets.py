from django.db import models, transaction
from django.db.models.functions import Coalesce

# Of all files of a chunk: the film, its poster and its proxy.
BYTES = models.F("size") + Coalesce("poster_size", 0) + Coalesce("proxy_size", 0)


class VideoChunkQuerySet(models.QuerySet):
    def overlapping(self, begin: float | None = None, end: float | None = None):
        """Return chunks that end after `begin` and start before `end`, in unix seconds; a touch is no overlap."""
        chunks = self if end is None else self.filter(start_timestamp__lt=end)
        return chunks if begin is None else chunks.filter(end_timestamp__gt=begin)

    def totals(self) -> dict[str, int]:
        """Return the `count` of chunks and the `size` of their files in bytes, with posters and proxies."""
        return self.aggregate(count=models.Count("pk"), size=models.Sum(BYTES, default=0))

    def delete(self):
        """Delete chunk by chunk, as each chunk also deletes its files."""
        with transaction.atomic():
            chunks = list(self)
            for chunk in chunks:
                chunk.delete()
        return len(chunks), {self.model._meta.label: len(chunks)}

    delete.alters_data = True
    delete.queryset_only = True
