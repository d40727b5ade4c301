"""The proxy: the same pictures at the same times, in a form that every browser plays."""

import subprocess
import sys
from functools import cache

import av
import numpy
import pytest

from tests.services import ROOT
from videos.film.examine import examine
from videos.film.facts import NoVideo
from videos.film.proxy import KEY_S, write_proxy
from videos.tests import film_files
from videos.tests.film_files import FILMS, encoded, number_of, numbers, pictures, remuxed, times
from videos.tests.mp4_boxes import rotated

PICTURES = {
    "cv_mp4v.mp4": range(300),
    "hevc_hvc1.mp4": range(300),
    "vfr_2s_hole.mp4": [*range(100), *range(161, 300)],
    "cut_ss_copy.mp4": range(105, 300),
    "seg_1.mp4": range(150, 300),
}


@pytest.fixture
def proxy(tmp_path):
    def proxy_of(film):
        target = tmp_path / "proxy.mp4.part"
        write_proxy(film, target, lambda progress: None)
        return target

    return proxy_of


@pytest.fixture(scope="module")
def shared_proxy(tmp_path_factory):
    """Return a function that converts a film of tests/films once for all tests, which only read it."""

    @cache
    def proxy_of(name):
        target = tmp_path_factory.mktemp("proxies") / f"{name}.part"
        write_proxy(FILMS / name, target, lambda progress: None)
        return target

    return proxy_of


@pytest.mark.parametrize("name, expected", PICTURES.items())
def test_it_has_all_pictures_at_their_times(shared_proxy, name, expected):
    made, film = shared_proxy(name), FILMS / name
    original, shown = times(film), pictures(made)
    assert [picture.pts * picture.time_base for picture in shown] == [each - original[0] for each in original]
    assert [number_of(picture) for picture in shown] == list(expected)
    assert examine(made).duration_s == examine(film).duration_s


@pytest.mark.parametrize("codec, ending", [("libx264", "avi"), ("mpeg4", "avi"), ("libx264", "ts"), ("libx264", "mkv")])
def test_it_has_the_pictures_of_other_containers_in_their_order(proxy, tmp_path, codec, ending):
    made = proxy(encoded(tmp_path / f"film.{ending}", codec, bf="2"))
    assert numbers(made) == list(range(60))
    assert [float(each) for each in times(made)] == pytest.approx([n / 30 for n in range(60)], abs=0.0005)


@pytest.mark.long
def test_the_clock_of_a_transport_stream_may_begin_again(proxy, tmp_path):
    shown = pictures(proxy(remuxed("h264_bframes_noedit.mp4", tmp_path / "film.ts", shift_s=95_440)))
    assert [round(picture.time * 30) for picture in shown] == [number_of(picture) for picture in shown]
    assert [number_of(picture) for picture in shown] == list(range(300))


def test_every_browser_plays_it(shared_proxy):
    facts = examine(shared_proxy("hevc_hvc1.mp4"))
    assert (facts.codec, facts.pixel_format, facts.playable, facts.first_picture_s) == ("h264", "yuv420p", True, 0)


def test_it_has_frequent_key_pictures_and_none_that_refers_to_a_later_one(shared_proxy):
    with av.open(shared_proxy("cv_mp4v.mp4")) as made:
        packets = [packet for packet in made.demux(video=0) if packet.size]
    assert [packet.pts for packet in packets] == [packet.dts for packet in packets]
    keys = [packet.pts * packet.time_base for packet in packets if packet.is_keyframe]
    assert keys == pytest.approx([KEY_S * number for number in range(20)])


def test_a_player_can_begin_before_it_has_the_whole_file(shared_proxy):
    content = shared_proxy("seg_1.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("degrees, size", [(0, (640, 360)), (90, (360, 640))])
def test_it_is_small_and_upright(proxy, tmp_path, degrees, size):
    with av.open(tmp_path / "upright.mp4", "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 1281, 721, "yuv420p"
        film.mux([*stream.encode(av.VideoFrame(1281, 721)), *stream.encode()])
    (tmp_path / "film.mp4").write_bytes(rotated((tmp_path / "upright.mp4").read_bytes(), degrees))
    picture = pictures(proxy(tmp_path / "film.mp4"))[0]
    assert (picture.width, picture.height, picture.rotation) == (*size, 0)


def test_it_is_not_marked_as_rgb(proxy, tmp_path):
    with av.open(tmp_path / "film.mkv", "w") as film:
        stream = film.add_stream("libx264rgb", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        film.mux([*stream.encode(av.VideoFrame(64, 48, "rgb24")), *stream.encode()])
    with av.open(proxy(tmp_path / "film.mkv")) as made:
        assert next(made.decode(video=0)).colorspace != 0


def test_it_keeps_its_size_if_the_film_changes_its_own(proxy, tmp_path, monkeypatch):
    small = encoded(tmp_path / "small.ts").read_bytes()
    monkeypatch.setattr(film_files, "WIDTH", 384)
    large = encoded(tmp_path / "large.ts", times=range(60, 120)).read_bytes()
    (tmp_path / "film.ts").write_bytes(small + large)
    made = pictures(proxy(tmp_path / "film.ts"))
    assert {picture.width for picture in made} == {192} and number_of(made[-1]) == 59


@pytest.mark.parametrize(
    "ending, codec, first", [("mp4", "aac", 15), ("mkv", "libopus", 15), ("ts", "mp2", 15), ("avi", "pcm_s16le", 0)]
)
def test_it_keeps_the_sound_in_time(proxy, tmp_path, ending, codec, first):
    """The tone begins with picture 30 of the film's clock; in AVI everything begins at 0."""
    film = encoded(tmp_path / f"film.{ending}", "mpeg2video", times=range(first, first + 60), sound=codec)
    with av.open(proxy(film)) as made:
        assert made.streams.audio[0].codec_context.name == "aac"
        sound = [(frame.time, numpy.abs(frame.to_ndarray()).max()) for frame in made.decode(audio=0)]
    begin_s = next(time for time, loudness in sound if loudness > 0.1)
    assert begin_s == pytest.approx((30 - first) / 30, abs=0.05)


def test_it_leaves_out_what_is_broken(proxy, tmp_path):
    content = (FILMS / "cv_mp4v.mp4").read_bytes()
    with av.open(FILMS / "cv_mp4v.mp4") as film:
        broken = [packet for packet in film.demux(video=0) if packet.size][100:120]
    for packet in broken:
        content = content[: packet.pos] + bytes(packet.size) + content[packet.pos + packet.size :]
    (tmp_path / "film.mp4").write_bytes(content)
    made = pictures(proxy(tmp_path / "film.mp4"))
    assert [round(picture.time * 30) for picture in made] == [*range(100), *range(120, 300)]
    assert [number_of(picture) for picture in made[:100]] == list(range(100))


def test_the_first_picture_is_at_0_even_if_earlier_ones_are_broken(proxy, tmp_path, monkeypatch):
    film = encoded(tmp_path / "film.mkv", g="1")
    monkeypatch.setattr("videos.film.proxy.decode", lambda packet: [] if packet.pts == 0 else packet.decode())
    made = proxy(film)
    assert numbers(made) == list(range(1, 60))
    assert [round(each * 30) for each in times(made)] == [0, *range(2, 60)]


def test_it_refuses_a_film_of_which_nothing_can_be_decoded(proxy, monkeypatch):
    monkeypatch.setattr("videos.film.decoding.decode", lambda packet: [])
    with pytest.raises(NoVideo, match="none of its pictures can be decoded"):
        proxy(FILMS / "seg_1.mp4")


def test_it_reports_its_progress(tmp_path):
    reports = []
    write_proxy(FILMS / "seg_1.mp4", tmp_path / "proxy.mp4", reports.append)
    assert len(reports) == 10 and reports == sorted(reports) and reports[0] == 0 and 0.8 < reports[-1] <= 1


@pytest.fixture(scope="module")
def cost(tmp_path_factory) -> tuple[float, int]:
    """Return the processor time in seconds, as the machine may be busy, and the memory in kB of converting 10 s."""
    script = (
        "import sys, time\n"
        "from videos.film.proxy import write_proxy\n"
        "began = time.process_time()\n"
        "write_proxy(*sys.argv[1:], lambda progress: None)\n"
        "print(time.process_time() - began)\n"
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])\n"
    )
    command = [sys.executable, "-c", script, FILMS / "cv_mp4v.mp4", tmp_path_factory.mktemp("cost") / "proxy.mp4"]
    seconds, most_kb = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.split()
    return float(seconds), int(most_kb)


def test_it_takes_a_quarter_of_the_films_time_at_most(cost):
    """It takes a twentieth."""
    assert cost[0] < 10 / 4


def test_it_keeps_few_pictures_in_memory(cost):
    """The 300 pictures of this film are 138 MB."""
    assert cost[1] < 80_000
