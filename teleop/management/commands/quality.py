from django.core.cache import cache
from django.core.management.base import CommandError

from robots.management.base import FormatCheckedCommand
from teleop.frames.motion import read_motion
from teleop.models import TeleopSession
from teleop.quality import quality

CLAIMED_S = 600  # longer than it takes for a million frames; after that a process that was killed holds nobody up


class Command(FormatCheckedCommand):
    help = "Computes the quality of the ended sessions that have none yet, newest first. `serve` starts it by itself."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--session", type=int, nargs="+", metavar="ID", help="these, whether it is due or not")

    def handle(self, *args, session, **options):
        ended = TeleopSession.objects.filter(end_time__isnull=False)
        due = ended.filter(pk__in=session) if session else ended.quality_due()
        failed = 0
        for session_id in list(due.values_list("pk", flat=True)):
            claim = f"quality-{session_id}"
            if not cache.add(claim, True, CLAIMED_S):
                continue  # another worker's process is at it
            try:
                self.compute(due.filter(pk=session_id).first())
            except Exception as error:  # one that cannot be read must not keep the others from theirs
                failed += 1
                self.stderr.write(f"session {session_id}: {type(error).__name__}: {error}")
            finally:
                cache.delete(claim)
        if failed:
            raise CommandError(f"{failed} sessions are left without")

    def compute(self, session: TeleopSession | None) -> None:
        if session is None:  # done by another since, or being recorded again
            return
        task = (session.meta_info or {}).get("task")
        others_s = TeleopSession.objects.exclude(pk=session.pk).durations_s(task) if task else []
        if session.keep_quality(quality(read_motion(session), session.fps, others_s)):
            self.stdout.write(f"session {session.pk}: {session.frame_count} frames")
