import shutil
from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from math import isfinite

from django.conf import settings
from django.core.files.storage import default_storage
from django.utils import timezone

from robots.management.base import FormatCheckedCommand
from videos.orphans import exports_without_folder, files_without_row, folders_without_row, missing_files

MIN_HOURS, DEFAULT_HOURS, MAX_HOURS = 1, 24, 24 * 366


def hours(text: str) -> timedelta:
    expected = f"--older-than is {text}; hours between {MIN_HOURS} and {MAX_HOURS} expected"
    try:
        value = float(text)
    except ValueError:
        raise ArgumentTypeError(expected) from None
    if not (isfinite(value) and MIN_HOURS <= value <= MAX_HOURS):
        raise ArgumentTypeError(expected)
    return timedelta(hours=value)


class Command(FormatCheckedCommand):
    help = """Lists remains of interrupted work: files and exports without a row, and rows with missing files.

    Rows are only listed, never deleted: if MEDIA_ROOT is not mounted, every file is missing. With --delete the server
    makes a missing poster or proxy again if its film is there."""

    def add_arguments(self, parser):
        parser.add_argument("--delete", action="store_true", help="delete the files and exports without a row")
        parser.add_argument(
            "--older-than",
            type=hours,
            default=timedelta(hours=DEFAULT_HOURS),
            metavar="HOURS",
            help=f"only files older than this (default {DEFAULT_HOURS}, minimum {MIN_HOURS})",
        )

    def handle(self, *args, delete, older_than, **options):
        before = timezone.now() - older_than
        count = self._clean(before, delete) + self._clean_exports(before, delete)
        missing = self._list_missing(delete)
        done = "deleted" if delete else "to delete (use --delete)"
        self.stdout.write(f"{count} files and folders {done}, {missing} are missing")

    def _clean(self, before: datetime, delete: bool) -> int:
        count = 0
        for path in files_without_row(before):
            self.stdout.write(f"{'deleted' if delete else 'no row for'} {path}")
            if delete:
                default_storage.delete(path)
            count += 1
        return count

    def _clean_exports(self, before: datetime, delete: bool) -> int:
        count = 0
        for folder in folders_without_row(before):
            self.stdout.write(f"{'deleted' if delete else 'no row for'} {folder.relative_to(settings.MEDIA_ROOT)}")
            if delete:
                shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
            count += 1
        return count

    def _list_missing(self, repair: bool) -> int:
        count = 0
        for export in exports_without_folder():
            self.stdout.write(f"no dataset for {export}")
            count += 1
        for chunk, name in missing_files():
            self.stdout.write(f"no file for video {chunk.pk} of session {chunk.session_id}: {name}")
            if repair and chunk.is_stored:
                chunk.make_again(name)
            count += 1
        return count
