from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from math import isfinite

from django.core.files.storage import default_storage
from django.utils import timezone

from robots.management.base import FormatCheckedCommand
from videos.orphans import files_without_row, rows_without_file

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
    help = """Lists remains of interrupted uploads and deletions: files without a row, and rows without a file.

    Rows are only listed, never deleted: if MEDIA_ROOT is not mounted, every file is missing."""

    def add_arguments(self, parser):
        parser.add_argument("--delete", action="store_true", help="delete the files without a row")
        parser.add_argument(
            "--older-than",
            type=hours,
            default=timedelta(hours=DEFAULT_HOURS),
            metavar="HOURS",
            help=f"only files older than this (default {DEFAULT_HOURS}, minimum {MIN_HOURS})",
        )

    def handle(self, *args, delete, older_than, **options):
        files = self._clean(timezone.now() - older_than, delete)
        rows = self._list_rows()
        done = "deleted" if delete else "to delete (use --delete)"
        self.stdout.write(f"{files} files {done}, {rows} rows without a file")

    def _clean(self, before: datetime, delete: bool) -> int:
        count = 0
        for path in files_without_row(before):
            self.stdout.write(f"{'deleted' if delete else 'no row for'} {path}")
            if delete:
                default_storage.delete(path)
            count += 1
        return count

    def _list_rows(self) -> int:
        count = 0
        for chunk in rows_without_file():
            self.stdout.write(f"no file for video {chunk.pk} of session {chunk.session_id}: {chunk.file_path.name}")
            count += 1
        return count
