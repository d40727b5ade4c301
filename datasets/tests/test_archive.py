"""A folder as a tar of which any part can be read."""

import io
import os
import tarfile

import pytest

from datasets.archive import BLOCK, MAX_SHORT_SIZE, RECORD, Changed, Member, Tar

LONG = "data/" + "chunk-000/" * 12 + "file-000.parquet"  # more than 100 characters
FILES = {"meta/info.json": b"{}", "empty": b"", LONG: b"x" * 5000, "videos/Größe.mp4": b"y" * BLOCK}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "5"
    for name, content in FILES.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(content)
    return made


def whole(tar: Tar) -> bytes:
    tar.seek(0)
    return tar.read(tar.size)


def test_tarfile_reads_all_files_in_a_folder_of_the_name(folder):
    with tarfile.open(fileobj=io.BytesIO(whole(Tar(folder, "towels")))) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
    assert found == {f"towels/{name}": content for name, content in FILES.items()}
    assert list(found) == sorted(found)


def test_the_same_files_have_the_same_bytes(folder):
    before = Tar(folder, "towels")
    content = whole(before)
    for path in folder.rglob("*"):
        os.utime(path, (5, 5))
        path.chmod(0o700)
    after = Tar(folder, "towels")
    assert (whole(after), after.digest) == (content, before.digest)


def test_its_size_is_known_before_and_fills_whole_records(folder):
    tar = Tar(folder, "towels")
    assert len(whole(tar)) == tar.size and tar.size % RECORD == 0
    assert tar.read(1) == b""


def test_any_part_is_that_part_of_the_whole(folder):
    tar = Tar(folder, "towels")
    content = whole(tar)
    for begin in range(0, tar.size, 311):
        for count in (1, 512, 5001):
            tar.seek(begin)
            assert tar.read(count) == content[begin : begin + count]


def test_the_digest_changes_with_a_name_or_a_size(folder):
    digests = {Tar(folder, "towels").digest, Tar(folder, "cubes").digest}
    (folder / "empty").write_bytes(b"z")
    digests.add(Tar(folder, "towels").digest)
    (folder / "empty").rename(folder / "other")
    assert len(digests | {Tar(folder, "towels").digest}) == 4


@pytest.mark.parametrize("name", ["a.mp4", "x" * 100, "x" * 101, "y/" * 60 + "z", "Größe.mp4"])
@pytest.mark.parametrize("size", [0, MAX_SHORT_SIZE - 1, MAX_SHORT_SIZE, 10**13])
def test_it_knows_the_length_of_a_header_without_making_it(name, size):
    member = Member("", name, size)
    assert member.header_length == len(member.header)


@pytest.mark.parametrize(
    "change", [lambda file: file.unlink(), lambda file: file.write_bytes(b"x")], ids=["deleted", "shortened"]
)
def test_it_stops_if_a_file_was_deleted_or_shortened_meanwhile(folder, change):
    tar = Tar(folder, "towels")
    change(folder / LONG)
    with pytest.raises(Changed, match="file-000"):
        whole(tar)


def test_it_closes_its_file(folder):
    tar = Tar(folder, "towels")
    tar.seek(2 * BLOCK + 512)
    tar.read(100)
    opened = tar._open[1]
    tar.close()
    assert opened.closed and tar._open is None


def test_an_empty_folder_is_an_empty_tar(tmp_path):
    with tarfile.open(fileobj=io.BytesIO(whole(Tar(tmp_path, "towels")))) as tar:
        assert tar.getmembers() == []


def test_there_is_no_tar_of_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        Tar(tmp_path / "none", "towels")
