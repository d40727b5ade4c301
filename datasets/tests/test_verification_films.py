"""Faults in the films of an export: each stops it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from datasets.tests.verified_exports import FIRST_PK, FIT, blocks, change_packets, change_pictures, write_film
from videos.models import VideoChunk

pytestmark = pytest.mark.once

FRONT = "videos/observation.images.front/chunk-000/file-000.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
WHERE = f"{FRONT}: episode 0 (session {FIRST_PK})"
VIDEO = f"video {FIRST_PK} of camera front"


def late(items: list) -> list:
    """Return the items one place later, the first one twice."""
    return [items[0], *items[:-1]]


def early(items: list) -> list:
    return [*items[1:], items[-1]]


def spoiled(packets: list) -> list:
    """Return the packets with the end of number 8 overwritten."""
    data, is_key = packets[8]
    return [*packets[:8], (data[: len(data) // 2] + b"\xa5" * (len(data) - len(data) // 2), is_key), *packets[9:]]


@contextmanager
def replaced_file(stored: VideoChunk, path: Path) -> Iterator[None]:
    """Let the stored film be another file of the same name in the manifest."""
    before = stored.path.read_bytes()
    stored.path.write_bytes(path.read_bytes())
    VideoChunk.objects.filter(pk=stored.pk).update(size=path.stat().st_size)
    yield
    stored.path.write_bytes(before)


def replaced(items: list) -> list:
    """Return the items with number 8 replaced by the one before it."""
    return [*items[:8], items[7], *items[9:]]


def test_it_finds_a_copied_picture_replaced_by_the_one_before_it(export):
    made = export("copied")
    change_packets(made.folder / FRONT, replaced)
    assert (
        f"{WHERE}, row 8 is not picture 8 of {VIDEO}, of which it is a copy: the packet is not that of the stored film"
    ) in made.findings()


def test_it_finds_a_copied_film_shifted_by_one_picture(export):
    made = export("copied")
    change_packets(made.folder / FRONT, late)
    assert f"{WHERE}, row 1 shows the one before, not picture 1 of {VIDEO}" in made.findings()


def test_it_finds_copied_packets_behind_the_header_of_another_film(export, tmp_path):
    made = export("copied")
    other = write_film(tmp_path / "other.mp4", blocks(1), **FIT | {"x264-params": "cabac=0"})
    packets = []
    change_packets(made.folder / FRONT, lambda found: packets.extend(found) or found)
    change_packets(other, lambda found: packets)
    other.replace(made.folder / FRONT)
    assert any(FRONT in finding for finding in made.findings())


def test_it_finds_an_encoded_picture_replaced_by_the_one_before_it(export):
    made = export("encoded")
    change_pictures(made.folder / FRONT, replaced)
    assert made.findings() == [f"{WHERE}, row 8 shows the one before, not picture 8 of {VIDEO}"]


@pytest.mark.parametrize("shifted, neighbour", [(late, "before"), (early, "after")])
def test_it_finds_an_encoded_film_shifted_by_one_picture(export, shifted, neighbour):
    made = export("encoded")
    change_pictures(made.folder / FRONT, shifted)
    assert f"{WHERE}, row 9 shows the one {neighbour}, not picture 9 of {VIDEO}" in made.findings()


def test_it_finds_a_shifted_film_that_changes_slowly(export):
    made = export("fade")
    change_pictures(made.folder / FRONT, late)
    assert f"{WHERE}: its pictures are, all together, nearer to the one before than to theirs" in made.findings()


def test_it_finds_a_shifted_film_of_half_the_rate(export):
    made = export("encoded", fps=15)
    change_pictures(made.folder / FRONT, late, rate=15)
    assert f"{WHERE}, row 2 shows that of the row before, not picture 4 of {VIDEO}" in made.findings()


def test_it_accepts_another_one_of_two_pictures_that_are_the_same(export):
    made = export("repeats")
    change_pictures(made.folder / FRONT, lambda images: [images[number // 2 * 2] for number in range(len(images))])
    assert made.verify().pictures


def test_it_finds_the_film_of_another_camera(export):
    made = export("two cameras")
    (made.folder / FRONT.replace("front", "wrist")).replace(made.folder / FRONT)
    (made.folder / FRONT.replace("front", "wrist")).write_bytes((made.folder / FRONT).read_bytes())
    assert f"{WHERE}, row 0 shows none near it, not picture 0 of {VIDEO}" in made.findings()


def test_it_finds_a_missing_picture(export):
    made = export("encoded")
    change_packets(made.folder / FRONT, lambda packets: packets[:-1])
    assert f"{WHERE} has 23 pictures; 24 expected" in made.findings()


def test_it_finds_a_surplus_picture(export):
    made = export("encoded")
    change_packets(made.folder / FRONT, lambda packets: [*packets, packets[-1]])
    assert made.findings() == [f"{FRONT} has 25 pictures; 24 expected"]


def test_it_finds_pictures_at_wrong_times(export):
    made = export("encoded")
    change_packets(made.folder / FRONT, lambda packets: packets, late_from=6)
    assert f"{FRONT}: picture 6 is at 0.23333333333333334 s; 0.2 s expected" in made.findings()


def test_it_finds_a_wrong_place_of_an_episode(export):
    made = export("copied")
    with made.table(EPISODES) as columns:
        columns["videos/observation.images.front/from_timestamp"][1] += 1 / 30
    assert "videos/observation.images.front/from_timestamp" in made.findings()[0]
    assert made.findings()[0].endswith("is 0.8333333333333334; 0.8 expected")


def test_it_finds_a_film_of_another_codec(export):
    made = export("encoded")
    write_film(made.folder / FRONT, blocks(3), codec="mpeg4")
    assert f"{FRONT}: codec is 'mpeg4'; 'h264' expected" in made.findings()


def test_it_finds_a_wrong_statistic_of_pictures(export):
    made = export("copied")
    with made.table(EPISODES) as columns:
        for key in ("min", "max", "mean", "std", "q50"):
            columns[f"stats/observation.images.front/{key}"][0][1][0][0] += 0.1
        columns["stats/observation.images.front/count"][0] = [23]
    found = " ".join(made.findings())
    for key in ("min", "max", "mean", "std", "q50"):
        assert f"{WHERE}, channel 1: {key} is " in found
    assert f"{WHERE}: count is [23]; [24] expected" in found


def test_it_finds_a_stored_film_that_is_gone(export):
    made = export("copied")
    stored = VideoChunk.objects.get(pk=FIRST_PK)
    stored.file_path = "gone.mp4"
    stored.save()
    assert made.findings()[0] == f"session {FIRST_PK}: {VIDEO}: its file is missing or cut off"


def test_it_finds_a_stored_film_that_was_deleted(export):
    made = export("copied")
    VideoChunk.objects.filter(pk=FIRST_PK).delete()
    assert f"{VIDEO} was deleted since it was selected" in made.findings()[0]


@pytest.mark.parametrize("kind", ["copied", "encoded"])
def test_it_finds_a_stored_film_with_a_broken_picture(export, tmp_path, kind):
    made = export(kind)
    stored = VideoChunk.objects.get(pk=FIRST_PK)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(stored.path.read_bytes())
    change_packets(broken, spoiled)
    with replaced_file(stored, broken):
        assert any("row 8" in finding or "picture 8" in finding for finding in made.findings())


def test_it_finds_a_broken_picture_that_was_copied(export, tmp_path):
    made = export("copied")
    stored = VideoChunk.objects.get(pk=FIRST_PK)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(stored.path.read_bytes())
    change_packets(broken, spoiled)
    change_packets(made.folder / FRONT, spoiled)
    with replaced_file(stored, broken):
        assert f"{FRONT}: picture 8 is damaged" in made.findings()
