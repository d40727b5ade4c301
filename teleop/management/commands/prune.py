import re
from argparse import ArgumentTypeError
from datetime import timedelta

from django.core.management import call_command
from django.db.models import Sum
from django.utils import timezone

from robots import audit
from robots.management.base import FormatCheckedCommand
from teleop.models import SessionIsLive, TeleopSession

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
MAX_AGE = timedelta(days=100 * 366)


def age(text: str) -> timedelta:
    number = re.fullmatch(r"([0-9]{1,6})([hdw])", text)
    value = int(number[1]) * UNITS[number[2]] if number else timedelta(0)
    if not timedelta(0) < value <= MAX_AGE:
        raise ArgumentTypeError(f"{text} is no age; 1h to 100 years expected, as in 12h, 30d or 8w")
    return value


class Command(FormatCheckedCommand):
    help = """Deletes sessions that ended long ago, with their frames and videos.

    While robots stream: frames go in short transactions. Ended at any moment it can be run again: a session of which
    only a part is gone goes first. PostgreSQL uses the room again, and gives none back to the disk (docs/deploy.md)."""

    def add_arguments(self, parser):
        parser.add_argument("--older-than", type=age, required=True, metavar="30d", help="by end_time; h, d or w")
        parser.add_argument("--keep-labelled", action="store_true", help="keep what staff have labelled or marked")
        parser.add_argument("--dry-run", action="store_true", help="say what would go")

    def handle(self, *args, older_than, keep_labelled, dry_run, **options):
        sessions = TeleopSession.objects.filter(end_time__lt=timezone.now() - older_than).order_by("end_time", "pk")
        if keep_labelled:
            sessions = sessions.filter(staff_labels=[], meta_info__marks__isnull=True)
        if dry_run:
            frames = sessions.aggregate(frames=Sum("frame_count", default=0))["frames"]
            self.stdout.write(f"{sessions.count()} sessions of {frames} frames would be deleted")
            return
        count = frames = 0
        for pk in list(sessions.values_list("pk", flat=True)):
            session = sessions.filter(pk=pk).first()  # current state: a labelled or resumed session stays
            if session is None:
                continue
            try:
                session.delete(actor=audit.command("prune"))
            except SessionIsLive:
                continue
            count, frames = count + 1, frames + session.frame_count
            self.stdout.write(f"session {pk} of {session.robot_id}, {session.frame_count} frames, deleted")
        self.stdout.write(f"{count} sessions of {frames} frames deleted")
        call_command("clearsessions")  # login sessions that have expired: no other code deletes these
