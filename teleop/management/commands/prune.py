import re
from argparse import ArgumentTypeError
from datetime import timedelta

from django.apps import apps
from django.core.management import call_command
from django.db.models import Sum
from django.utils import timezone

from robots import audit
from robots.management.base import FormatCheckedCommand
from teleop.models import DeletedSession, SessionIsLive, TeleopSession
from teleop.review import trash

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
MAX_AGE = timedelta(days=100 * 366)


def age(text: str) -> timedelta:
    number = re.fullmatch(r"([0-9]{1,6})([hdw])", text)
    value = int(number[1]) * UNITS[number[2]] if number else timedelta(0)
    if not timedelta(0) < value <= MAX_AGE:
        raise ArgumentTypeError(f"{text} is not a valid age; 1h to 100 years expected, such as 12h, 30d or 8w")
    return value


class Command(FormatCheckedCommand):
    help = """Deletes sessions that ended long ago or were in the trash for TRASH_DAYS, and exports that have expired.

    It may run while robots stream, as it deletes frames in short transactions. After an interruption run it again: it
    begins with sessions that are deleted in part. PostgreSQL reuses the space and does not return it to the disk
    (docs/deploy.md)."""

    def add_arguments(self, parser):
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--older-than", type=age, metavar="30d", help="sessions by end_time; units: h, d, w")
        what.add_argument("--expired-exports", action="store_true", help="only exports, and the trash")
        parser.add_argument("--keep-labelled", action="store_true", help="keep sessions labelled or marked by staff")
        parser.add_argument("--dry-run", action="store_true", help="delete nothing; print what would be deleted")

    def handle(self, *args, older_than, keep_labelled, dry_run, **options):
        if older_than:
            self._prune_sessions(older_than, keep_labelled, dry_run)
        self._prune_trash(dry_run)
        self._prune_exports(dry_run)

    def _prune_trash(self, dry_run: bool) -> None:
        expired = trash.expired()
        if dry_run and (count := expired.count()):
            self.stdout.write(f"{count} sessions in the trash would be deleted")
        if dry_run:
            return
        for session in expired:
            if trash.delete(session, actor="prune"):
                self.stdout.write(f"deleted session {session.pk} of {session.robot_id} from the trash")

    def _prune_exports(self, dry_run: bool) -> None:
        """Delete exports one by one: each has a large folder."""
        expired = apps.get_model("datasets", "Export").objects.expired()
        if dry_run and (count := expired.count()):
            self.stdout.write(f"{count} exports would be deleted")
        if dry_run:
            return
        for export in expired.defer("manifest", "report").order_by("pk"):
            expired.filter(pk=export.pk).delete(actor=audit.command("prune"))
            self.stdout.write(f"deleted export {export.pk} ({export.name})")

    def _prune_sessions(self, older_than: timedelta, keep_labelled: bool, dry_run: bool) -> None:
        sessions = TeleopSession.objects.filter(end_time__lt=timezone.now() - older_than).order_by("end_time", "pk")
        if keep_labelled:
            sessions = sessions.filter(staff_labels=[], meta_info__marks__isnull=True)
        if dry_run:
            frames = sessions.aggregate(frames=Sum("frame_count", default=0))["frames"]
            self.stdout.write(f"{sessions.count()} sessions with {frames} frames would be deleted")
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
            self.stdout.write(f"deleted session {pk} of {session.robot_id} with {session.frame_count} frames")
        self.stdout.write(f"deleted {count} sessions with {frames} frames")
        DeletedSession.objects.outdated().delete()
        call_command("clearsessions")  # login sessions that have expired: no other code deletes these
