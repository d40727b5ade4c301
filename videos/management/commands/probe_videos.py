from django.core.management.base import CommandError
from django.db.models import Q

from robots.management.base import FormatCheckedCommand
from teleop.background.models import Job
from videos import background
from videos.models import VideoChunk
from videos.probe import NoVideo, ProbesBusy, probe


class Command(FormatCheckedCommand):
    help = """Finds length, time of the first picture and codec of the videos for which they are unknown.

    `serve` does so by itself, and makes posters and proxies."""

    def add_arguments(self, parser):
        parser.add_argument("--all", action="store_true", help="all videos, also those for which they are known")

    def handle(self, *args, all, **options):
        chunks = VideoChunk.objects.order_by("-pk")
        if not all:
            chunks = chunks.filter(Q(duration_s=None) | Q(duration_s=0))
        found = unreadable = missing = 0
        for chunk in chunks.iterator():
            name = f"video {chunk.pk} of session {chunk.session_id}"
            if not chunk.path.exists():  # it stays due: MEDIA_ROOT may not be mounted
                self.stderr.write(f"no file for {name}: {chunk.file_path.name}")
                missing += 1
                continue
            try:
                background.store(chunk, probe(chunk.path))
                Job.objects.forget(background.PROBE.name, chunk.pk)
                found += 1
            except NoVideo as error:
                background.give_up_probe(chunk, str(error))
                self.stderr.write(f"{name}: {error}")
                unreadable += 1
            except ProbesBusy as error:
                raise CommandError(f"{error}; run this again") from None
        self.stdout.write(f"{found} videos probed, {unreadable} unreadable, {missing} without a file")
