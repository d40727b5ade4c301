from django.core.management.base import CommandError

from robots.management.base import FormatCheckedCommand
from teleop.background.kinds import Unusable
from teleop.background.models import Job
from teleop.models import TeleopSession
from teleop.quality import job


class Command(FormatCheckedCommand):
    help = "Computes the quality of ended sessions that have none, newest first. `serve` does so by itself."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument(
            "--sparklines", action="store_true", help="also sessions without a sparkline, which older versions left out"
        )
        parser.add_argument("--session", type=int, nargs="+", metavar="ID", help="these, even if they have a quality")

    def handle(self, *args, session, sparklines, **options):
        ended = TeleopSession.objects.filter(end_time__isnull=False)
        without_line = ended.filter(sparkline=None).ordered() if sparklines else job.due()
        due = ended.filter(pk__in=session) if session else without_line
        failed = 0
        for session_id in list(due.values_list("pk", flat=True)):
            each = due.filter(pk=session_id).first()
            if each is None:  # another process has computed it since, or it is recorded again
                continue
            try:
                job.compute(each)
            except Unusable as error:
                job.give_up(each, str(error))
                self.stderr.write(f"session {each.pk} has no quality: {error}")
            except Exception as error:  # the session stays due, and must not stop the others
                failed += 1
                self.stderr.write(f"session {each.pk}: {type(error).__name__}: {error}")
            else:
                Job.objects.forget(job.QUALITY.name, each.pk)
                self.stdout.write(f"session {each.pk}: {each.frame_count} frames")
        if failed:
            raise CommandError(f"the quality of {failed} sessions could not be computed")
