"""Films have the pictures and the times that the camera gave, also after a kill and on a full disk."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
from fractions import Fraction
from io import FileIO
from itertools import pairwise

import av
import numpy
import pytest
from film_fixtures import HEIGHT, WIDTH, first_picture, make_film, picture, repacked, times
from teleop_client.camera import film_chunk, film_file
from teleop_client.camera.film_chunk import Chunk, EncoderFailed, repack
from teleop_client.camera.film_file import FilmUnusable, complete_bytes, keep

SIZE = (WIDTH, HEIGHT)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "front" / "000001"


@pytest.fixture
def disk(monkeypatch):
    """Return a dict: the disk takes `room` bytes of films, the last write only in part."""
    state = {"room": 1 << 40}

    class File(FileIO):
        def write(self, data):
            if not state["room"]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = super().write(data[: state["room"]])
            state["room"] -= written
            return written

    monkeypatch.setattr(film_chunk, "FileIO", File)
    return state


def chunk_at(path, **options):
    about = {"camera": "front", "start": {"unix_s": 1767225600.0}}
    return Chunk(path, about, 100.0, SIZE, **{"fps": 30} | options)


def names(path):
    return sorted(each.name for each in path.parent.iterdir())


def test_it_keeps_the_times_of_the_pictures_within_a_millisecond(path):
    rng = random.Random(1)
    captured = [100.0 + number / 30 + rng.uniform(-0.012, 0.012) * (number > 0) for number in range(75)]
    chunk = chunk_at(path)
    for number, time_s in enumerate(captured):
        assert chunk.add(picture(number), "rgb24", time_s)
    assert chunk.finish(captured[-1] + 0.04) == 75
    copy, length_s = repacked(chunk.path)
    for film in (chunk.path, copy):
        assert [100.0 + time_s for time_s in times(film)] == pytest.approx(captured, abs=0.0001)
    assert length_s == pytest.approx(captured[-1] + 0.04 - 100.0, abs=0.0001)
    assert names(path) == ["000001.json", "000001.mp4", "000001.upload"]


def test_it_writes_a_description_beside_the_film(path):
    chunk = chunk_at(path)
    about = json.loads(path.with_suffix(".json").read_text())
    assert about.pop("start") == {"unix_s": 1767225600.0}
    expected = {"camera": "front", "fps": 30, "width": WIDTH, "height": HEIGHT, "codec": "h264", "encoder": "libx264"}
    assert about == expected
    assert chunk.finish() == 0
    assert names(path) == []  # a film without a picture is none


@pytest.mark.skipif(sys.platform == "win32", reason="no modes of files")
def test_only_the_user_can_read_films(path):
    film = make_film(path)
    assert [each.stat().st_mode & 0o777 for each in (film, film.with_suffix(".json"))] == [0o600, 0o600]


def test_it_drops_a_picture_that_is_not_later(path):
    chunk = chunk_at(path)
    times_s = (100.0, 100.0, 100.000001, 99.0, 100.1)
    assert [chunk.add(picture(), "rgb24", time_s) for time_s in times_s] == [True, False, False, False, True]
    assert chunk.finish() == 2


@pytest.mark.parametrize(
    ("steps", "expected"), [([0.1, 0.3], 0.7), ([0.1, 5.0], 6.1), ([], 1 / 30)], ids=["same as before", "long", "one"]
)
def test_it_guesses_how_long_the_last_picture_is_shown(path, steps, expected):
    chunk, time_s = chunk_at(path), 100.0
    chunk.add(picture(), "rgb24", time_s)
    for step in steps:
        time_s += step
        chunk.add(picture(), "rgb24", time_s)
    chunk.finish()
    assert repacked(chunk.path)[1] == pytest.approx(expected, abs=0.0001)


def test_it_has_a_key_frame_each_second_also_of_a_slow_camera(path):
    chunk = chunk_at(path, fps=None)
    for number in range(12):
        chunk.add(picture(number), "rgb24", 100 + number * 0.4)
    chunk.finish()
    with av.open(str(chunk.path)) as film:
        keys = [packet.pts / film_chunk.TICKS for packet in film.demux(video=0) if packet.is_keyframe]
    assert keys == pytest.approx([0, 1.2, 2.4, 3.6])


def test_browsers_can_play_an_uploaded_film(path):
    film, _ = repacked(make_film(path))
    assert film.read_bytes().find(b"moov") < film.read_bytes().find(b"mdat")
    with av.open(str(film)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.time_base == Fraction(1, 90000)
        assert not stream.codec_context.has_b_frames
        assert stream.codec_context.colorspace == 1  # BT.709


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (40, 120, 200)])
def test_colours_stay(path, colour):
    chunk = chunk_at(path)
    chunk.add(numpy.full((HEIGHT, WIDTH, 3), colour, numpy.uint8), "rgb24", 100.0)
    chunk.finish()
    shown = first_picture(repacked(chunk.path)[0]).mean(axis=(0, 1))
    assert shown == pytest.approx(numpy.array(colour), abs=4)


def test_two_repacks_have_the_same_bytes(path):
    film = make_film(path)
    first = repacked(film)[0].read_bytes()
    assert repacked(film)[0].read_bytes() == first
    assert b"Lavf" not in first  # the version of FFmpeg may change between two uploads


def test_it_names_an_encoder_that_cannot_be_opened(path):
    for encoder in ("h264_nvenc", "h264_vaapi", "h264_v4l2m2m", "no_such_encoder", "aac"):
        with pytest.raises(EncoderFailed, match=encoder):
            chunk_at(path, encoder=encoder)
    assert names(path) == []


# A killed process


def test_it_keeps_the_film_up_to_the_last_whole_fragment_wherever_it_is_cut(path, tmp_path):
    whole = make_film(path, seconds=3, fps=20)
    data, found = whole.read_bytes(), []
    part = tmp_path / "cut" / "000001.part.mp4"
    part.parent.mkdir()
    for cut in [*sorted(random.Random(1).sample(range(len(data)), 25)), len(data)]:
        part.write_bytes(data[:cut])
        film, complete = part.with_name("000001.mp4"), complete_bytes(part)
        assert complete <= cut
        if keep(part):
            found.append(len(times(film)))
            repacked(film)
        else:
            found.append(0)
            assert not film.exists()
        assert not part.exists()
    assert found == sorted(found)
    assert {0, 10, 20, 30, 40, 50, 60} >= set(found) >= {0, 60}


WRITES_A_FILM = """
import itertools, sys, time
from pathlib import Path
from film_fixtures import picture
from teleop_client.camera.film_chunk import Chunk
about = {"camera": "front", "start": {"unix_s": 1767225600.0}}
chunk, begin = Chunk(Path(sys.argv[1]), about, 0.0, (64, 48)), time.time()
for number in itertools.count():
    at = time.time() - begin
    chunk.add(picture(number), "rgb24", at)
    print(at, flush=True)
    time.sleep(0.02)
"""


def test_a_killed_process_loses_the_last_second_at_most(path):
    run = [sys.executable, "-c", WRITES_A_FILM, str(path)]
    environment = os.environ | {"PYTHONPATH": os.path.dirname(__file__)}
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True, env=environment) as process:
        until, written = random.uniform(1.1, 1.9), []
        while not written or written[-1] < until:
            written.append(float(process.stdout.readline()))
        process.send_signal(signal.SIGKILL)
        written += [float(line) for line in process.stdout]
    assert names(path) == ["000001.json", "000001.part.mp4"]
    film_file.recover(path.parent.parent)
    assert names(path) == ["000001.json", "000001.mp4"]
    found = times(path.with_suffix(".mp4"))
    assert found == pytest.approx(written[: len(found)], abs=0.001)
    pause_s = max(after - before for before, after in pairwise(written))  # of this machine
    assert written[-1] - found[-1] <= film_chunk.FRAGMENT_S + 3 * pause_s < 2


def test_it_recovers_nothing_of_a_film_that_has_no_fragment(path):
    for number, content in enumerate((b"", b"x" * 5, b"\0\0\0\0moof", b"\0\0\0\x08moof\0\0\0\x09mdat"), 1):
        path.parent.mkdir(exist_ok=True)
        path.with_name(f"{number:06}.part.mp4").write_bytes(content)
        path.with_name(f"{number:06}.json").write_text("{}")
    path.with_name("000009.json.part").write_text("{")
    film_file.recover(path.parent.parent)
    assert names(path) == []


def test_it_refuses_to_repack_a_file_that_is_no_film(path):
    film = make_film(path)
    for content in (b"", b"no film at all, but quite long", b"\0\0\0\x08moof\0\0\0\x08mdat"):
        film.write_bytes(content)
        with pytest.raises(FilmUnusable):
            repacked(film)


def test_it_repacks_the_whole_fragments_of_a_film_that_lost_its_end_in_a_power_cut(path):
    film = make_film(path, seconds=2, fps=20)
    os.truncate(film, film.stat().st_size - 5)
    copy, length_s = repacked(film)
    assert (len(times(copy)), length_s) == (30, pytest.approx(1.5))


def test_a_repack_says_that_the_disk_is_full(path, tmp_path):
    film = make_film(path)
    with pytest.raises(OSError, match="No such file"):
        repack(film, tmp_path / "missing" / "film")
    if os.path.exists("/dev/full"):
        with pytest.raises(OSError):
            repack(film, tmp_path.__class__("/dev/full"))


# A full disk


@pytest.mark.parametrize("room", [0, 10, 900, 20_000, 60_000, 100_000])
def test_it_keeps_the_film_up_to_the_moment_when_the_disk_was_full(path, disk, room):
    disk["room"] = room
    chunk = chunk_at(path, fps=20)
    with pytest.raises(OSError) as caught:
        for number in range(2000):
            chunk.add(noise(number), "rgb24", 100 + number / 20)
    assert caught.value.errno == errno.ENOSPC
    disk["room"] = 1 << 40  # it takes nothing more all the same: its end would be behind a gap
    kept = chunk.finish()
    assert kept < chunk.pictures
    assert bool(kept) == (room >= 60_000)
    if kept:
        assert len(times(chunk.path)) == kept == len(times(repacked(chunk.path)[0]))
    else:
        assert names(path) == []


def noise(number):
    return numpy.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), numpy.uint8)


def test_it_leaves_no_file_if_the_disk_is_full_at_the_begin(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(film_chunk, "write_about", full)
    with pytest.raises(OSError):
        chunk_at(path)
    assert names(path) == []


def test_it_keeps_the_pictures_that_a_failed_encoder_has_encoded(path, monkeypatch):
    chunk = chunk_at(path)
    for number in range(20):
        chunk.add(picture(number), "rgb24", 100 + number / 30)

    class Broken:
        name = "h264_nvenc"

        def encode(self, frame=None):
            raise av.error.ExternalError(1, "no device")

    chunk._stream = Broken()
    with pytest.raises(EncoderFailed, match="h264_nvenc failed"):
        chunk.add(picture(20), "rgb24", 101)
    assert (chunk.finish(), chunk.pictures) == (20, 20)
    assert len(times(chunk.path)) == 20
