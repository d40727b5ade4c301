"""The check of uploads finds each kind of loss."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.chaos.uploaders import Uploaders

pytestmark = pytest.mark.once
NAME, CONTENT = "videos/1/front/0.mp4", b"a film"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def uploaders(tmp_path) -> Uploaders:
    """Make the state after the film 1 was uploaded and answered."""
    made = Uploaders(SimpleNamespace(), tmp_path, count=0)
    made.answered = {1: SHA256}
    (tmp_path / NAME).parent.mkdir(parents=True)
    (tmp_path / NAME).write_bytes(CONTENT)
    return made


def database(folder: Path, *rows: tuple[int, str, int, str]) -> str:
    file = folder.parent / f"{folder.name}.sqlite3"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE videos_videochunk (id, file_path, size, sha256)")
        connection.executemany("INSERT INTO videos_videochunk VALUES (?, ?, ?, ?)", rows)
    return f"sqlite:///{file}"


ROW = (1, NAME, len(CONTENT), SHA256)


def test_it_finds_no_fault_in_a_stored_film(uploaders, tmp_path):
    assert uploaders.faults(database(tmp_path, ROW)) == []


def test_it_finds_an_answered_film_without_a_row(uploaders, tmp_path):
    assert uploaders.faults(database(tmp_path)) == ["video 1 was answered and has no row"]


def test_it_finds_a_row_without_a_file(uploaders, tmp_path):
    (tmp_path / NAME).unlink()
    assert uploaders.faults(database(tmp_path, ROW)) == ["video 1 has no file"]


@pytest.mark.parametrize("content", [b"", b"a fil", b"a film.", b"b film"])
def test_it_finds_a_file_with_other_content(uploaders, tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    [fault] = uploaders.faults(database(tmp_path, ROW))
    assert fault == f"video 1 has a file of {len(content)} bytes that is not the one of its row"


def test_it_finds_another_film_than_the_one_that_was_sent(uploaders, tmp_path):
    uploaders.answered = {1: "0" * 64}
    assert uploaders.faults(database(tmp_path, ROW)) == ["video 1 is not the film that was sent"]


def test_it_finds_files_without_a_row(uploaders, tmp_path):
    for name in ("uploads/tmp1.upload", "videos/1/front/1.mp4", "videos/1/front/0.poster.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    remains = uploaders.remains(database(tmp_path, ROW))
    assert remains == {"uploads/tmp1.upload", "videos/1/front/1.mp4"}
