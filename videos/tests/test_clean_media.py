"""`manage.py clean_media`: files that a crash left on the disk."""

import io
import os
import time

import pytest
from django.core.management import CommandError, call_command

from videos.models import VideoChunk
from videos.tests.video_files import files, upload

pytestmark = pytest.mark.django_db


def clean(*options: str) -> str:
    printed = io.StringIO()
    call_command("clean_media", *options, stdout=printed)
    return printed.getvalue()


@pytest.fixture
def lost(media):
    """Make two files of a crashed upload and of a killed server, 25 hours old, and one that is half an hour old."""
    ages = {"videos/17/front/lost.mp4": 25, "uploads/tmpabc.upload": 25, "videos/17/front/new.mp4": 0.5}
    for path, hours in ages.items():
        (media / path).parent.mkdir(parents=True, exist_ok=True)
        (media / path).write_bytes(b"x")
        os.utime(media / path, (time.time() - hours * 3600,) * 2)
    return ["uploads/tmpabc.upload", "videos/17/front/lost.mp4"]


@pytest.fixture
def kept(admin, session, media) -> str:
    """Make an old file that a row names."""
    upload(admin, session)
    path = VideoChunk.objects.get().file_path.name
    os.utime(media / path, (0, 0))
    return path


def test_it_lists_orphaned_files_and_deletes_none(kept, lost, media):
    before = files(media)
    printed = clean()
    assert [line.removeprefix("no row for ") for line in printed.splitlines()[:-1]] == lost
    assert "2 files to delete (use --delete), 0 rows without a file" in printed
    assert files(media) == before


def test_it_deletes_orphaned_files_with_the_delete_option(kept, lost, media):
    assert "2 files deleted" in clean("--delete")
    assert files(media) == sorted(["videos/17/front/new.mp4", kept])


def test_it_selects_files_by_older_than(lost):
    assert "0 files" in clean("--older-than", "26") and "2 files" in clean("--older-than", "1")


def test_it_lists_rows_with_missing_files_and_keeps_them(kept, media):
    (media / kept).unlink()
    chunk = VideoChunk.objects.get()
    assert f"no file for video {chunk.pk} of session {chunk.session_id}: {kept}" in clean("--delete")
    assert VideoChunk.objects.exists()


def test_it_reports_zero_files_without_uploads():
    assert clean("--delete") == "0 files deleted, 0 rows without a file\n"


@pytest.mark.parametrize("hours", ["0.5", "0", "-1", "nan", "inf", "soon", "99999"])
def test_it_refuses_an_invalid_age_and_names_the_limits(hours):
    with pytest.raises(CommandError, match=f"--older-than is {hours}; hours between 1 and 8784 expected"):
        clean(f"--older-than={hours}")
