"""`manage.py clean_media`: files that a crash left on the disk."""

import io
import os
import time

import pytest
from django.core.management import CommandError, call_command

from videos.background import POSTER, PROBE, PROXY
from videos.models import VideoChunk
from videos.tests.video_files import files, upload

pytestmark = [pytest.mark.django_db, pytest.mark.once]


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
    assert "2 files and folders to delete (use --delete), 0 are missing" in printed
    assert files(media) == before


def test_it_deletes_orphaned_files_with_the_delete_option(kept, lost, media):
    assert "2 files and folders deleted" in clean("--delete")
    assert files(media) == sorted(["videos/17/front/new.mp4", kept])


def test_it_selects_files_by_older_than(lost):
    assert "0 files" in clean("--older-than", "26") and "2 files" in clean("--older-than", "1")


def test_it_knows_the_poster_and_the_proxy_of_a_row(kept, media):
    chunk = VideoChunk.objects.get()
    names = [*chunk.file_names, f"{chunk.proxy_name}.part", "videos/17/front/0123.poster.jpg"]
    for name in names[1:]:
        (media / name).parent.mkdir(parents=True, exist_ok=True)
        (media / name).write_bytes(b"x")
        os.utime(media / name, (0, 0))
    assert "2 files and folders deleted, 0 are missing" in clean("--delete")
    assert files(media) == sorted(chunk.file_names)


def test_it_lists_missing_posters_and_proxies(kept):
    chunk = VideoChunk.objects.get()
    VideoChunk.objects.update(poster_size=1, proxy_size=1)
    assert clean().splitlines() == [
        f"no file for video {chunk.pk} of session {chunk.session_id}: {chunk.poster_name}",
        f"no file for video {chunk.pk} of session {chunk.session_id}: {chunk.proxy_name}",
        "0 files and folders to delete (use --delete), 2 are missing",
    ]
    assert not any(kind.due() for kind in (PROBE, POSTER, PROXY))


@pytest.mark.parametrize("is_film_there", [True, False])
def test_a_missing_poster_or_proxy_is_made_again_if_the_film_is_there(kept, media, is_film_there):
    VideoChunk.objects.update(poster_size=1, proxy_size=1)
    if not is_film_there:
        (media / kept).unlink()
    clean("--delete")
    chunk = VideoChunk.objects.get()
    assert {chunk.poster_size, chunk.proxy_size} == {None if is_film_there else 1}


def test_it_lists_rows_with_missing_files_and_keeps_them(kept, media):
    (media / kept).unlink()
    chunk = VideoChunk.objects.get()
    assert f"no file for video {chunk.pk} of session {chunk.session_id}: {kept}" in clean("--delete")
    assert VideoChunk.objects.exists()


def test_it_reports_zero_files_without_uploads():
    assert clean("--delete") == "0 files and folders deleted, 0 are missing\n"


@pytest.mark.parametrize("hours", ["0.5", "0", "-1", "nan", "inf", "soon", "99999"])
def test_it_refuses_an_invalid_age_and_names_the_limits(hours):
    with pytest.raises(CommandError, match=f"--older-than is {hours}; hours between 1 and 8784 expected"):
        clean(f"--older-than={hours}")
