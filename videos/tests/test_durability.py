"""200 and 201 mean that the film is on the disk, also after a power failure."""

import os
import shutil
from pathlib import Path

import pytest
from django.core.files import move
from django.db.backends.base.base import BaseDatabaseWrapper

from videos.models import VideoChunk
from videos.tests.video_files import START, files, film, upload

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def steps(media, monkeypatch) -> list[str]:
    """Record what happens to files of films and to the database, in order."""
    done: list[str] = []

    def record(where, name: str, describe) -> None:
        original = getattr(where, name)

        def recorded(*args, **kwargs):
            done.append(describe(*args))
            return original(*args, **kwargs)

        monkeypatch.setattr(where, name, recorded)

    def of(path) -> str:
        return str(Path(path).relative_to(media.parent))

    record(os, "fsync", lambda descriptor: f"sync {of(os.readlink(f'/proc/self/fd/{descriptor}'))}")
    record(move.os, "rename", lambda _, target: f"move to {of(target)}")
    record(os, "replace", lambda _, target: f"move to {of(target)}")
    record(BaseDatabaseWrapper, "_commit", lambda _: "commit")
    return done


def test_it_syncs_the_file_and_its_folders_before_it_commits_the_row(arm, session, steps):
    assert upload(arm, session).status_code == 201
    file, folder = f"media/{VideoChunk.objects.get().file_path.name}", f"media/videos/{session.pk}/front"
    assert steps == [
        "sync media",  # the folder of uploads is new, and so is `media`
        "sync .",
        f"move to {file}",
        f"sync {file}",
        f"sync {folder}",
        f"sync media/videos/{session.pk}",
        "sync media/videos",
        "sync media",
        "commit",
    ]


def test_it_stores_no_row_if_the_file_cannot_be_synced(arm, session, media, monkeypatch):
    monkeypatch.setattr("videos.models.sync", lambda *_: 1 / 0)
    assert upload(arm, session).status_code == 500
    assert not VideoChunk.objects.exists() and not files(media)


@pytest.fixture
def stored(arm, session, media) -> Path:
    assert upload(arm, session).status_code == 201
    return media / VideoChunk.objects.get().file_path.name


def test_a_repeated_upload_leaves_a_complete_file_alone(arm, session, stored):
    before = stored.stat().st_ino
    assert upload(arm, session).status_code == 200
    assert stored.stat().st_ino == before


def cut(stored: Path) -> None:
    stored.write_bytes(film()[:100])


def lose_all_folders(stored: Path) -> None:
    shutil.rmtree(stored.parents[2])


@pytest.mark.parametrize("damage", [Path.unlink, cut, lose_all_folders])
def test_a_repeated_upload_restores_a_lost_file_before_it_answers_200(arm, session, media, stored, steps, damage):
    damage(stored)
    steps.clear()
    assert upload(arm, session).status_code == 200
    assert stored.read_bytes() == film() and files(media) == [str(stored.relative_to(media))]
    replaced = steps.index(f"move to media/{stored.relative_to(media)}")
    new = steps[replaced - 5].removeprefix("sync ")
    assert Path(new).parent == stored.parent.relative_to(media.parent) and Path(new).name != stored.name
    folders = [f"sync {folder.relative_to(media.parent)}" for folder in stored.parents[:4]]
    assert steps[replaced - 4 : replaced] == steps[replaced + 1 : -1] == folders
    assert steps[-1] == "commit"


def test_a_restored_film_gets_its_poster_and_its_proxy_again(arm, session, media):
    statuses = [upload(arm, session, film(codec="mpeg4")).status_code]
    (media / VideoChunk.objects.get().file_path.name).unlink()
    VideoChunk.objects.update(poster_size=1000, proxy_size=2000)
    statuses.append(upload(arm, session, film(codec="mpeg4")).status_code)
    chunk = VideoChunk.objects.get()
    assert (statuses, chunk.poster_size, chunk.proxy_size) == ([201, 200], None, None)


def test_a_film_that_was_given_up_for_lack_of_its_file_is_whole_again(arm, session, media):
    upload(arm, session, film(codec="mpeg4"))
    chunk = VideoChunk.objects.get()
    chunk.path.unlink()
    unknown = {"codec": "", "width": None, "height": None, "rate": None, "proxy_size": 0, "poster_size": 0}
    VideoChunk.objects.update(duration_s=0, playable=False, **unknown)
    assert upload(arm, session, film(codec="mpeg4")).json()["codec"] == "mpeg4"
    restored = VideoChunk.objects.get()
    assert (restored.facts, restored.preview) == (chunk.facts, "pending")


def test_a_lost_film_is_not_replaced_by_another_one(arm, session, stored):
    stored.unlink()
    assert upload(arm, session, film(shade=200)).status_code == 409
    assert upload(arm, session, start=START + 0.5).status_code == 409
    assert not stored.exists()
