"""Facts of films: times that are exact to the picture, from packets alone, and the container by its first bytes."""

from fractions import Fraction
from types import SimpleNamespace

import pytest

from videos.film import containers
from videos.film import examine as examination
from videos.film.containers import MPEG_TS, QUICKTIME, WEBM, container_of
from videos.film.examine import Pictures, examine, measure, read_pictures
from videos.film.facts import NoVideo, is_playable
from videos.tests.film_files import FILMS, encoded, remuxed
from videos.tests.mp4_boxes import rotated

#                             first picture, duration, pictures, evenly spaced
EXACT = {
    "h264_bframes_noedit.mp4": (1 / 15, 10.0, 300, True),
    "frag_bframes.mp4": (1 / 15, 10.0, 300, True),
    "seg_1.mp4": (5.0, 5.0, 150, True),
    "offset5_edit.mp4": (5.0, 10.0, 300, True),
    "cut_ss_copy.mp4": (0.0, 6.5, 195, True),
    "cv_mp4v.mp4": (0.0, 10.0, 300, True),
    "short92.mp4": (0.0, 9.2, 276, True),
    "vfr_2s_hole.mp4": (0.0, 10.0, 239, False),
}
MADE = [
    # codec, container; media type, playable
    ("libx264", "mp4", "video/mp4", True),
    ("libx264", "mov", "video/quicktime", True),
    ("libsvtav1", "mp4", "video/mp4", True),  # as LeRobot
    ("libvpx", "webm", "video/webm", True),
    ("libvpx-vp9", "webm", "video/webm", True),
    ("libx264", "mkv", "video/x-matroska", False),
    ("mpeg4", "avi", "video/x-msvideo", False),
    ("libx264", "ts", "video/mp2t", False),
]


@pytest.mark.parametrize("name, expected", EXACT.items())
def test_it_finds_the_times_of_real_films(name, expected):
    facts = examine(FILMS / name)
    first_s, duration_s, count, is_evenly_spaced = expected
    assert (facts.first_picture_s, facts.duration_s) == pytest.approx((first_s, duration_s), abs=1e-9)
    assert facts.rate == pytest.approx(count / duration_s)
    assert facts.is_evenly_spaced == is_evenly_spaced


@pytest.mark.parametrize("codec, ending, media_type, playable", MADE)
def test_it_finds_the_container_and_whether_browsers_play_the_film(tmp_path, codec, ending, media_type, playable):
    facts = examine(encoded(tmp_path / f"film.{ending}", codec, **({"g": "2"} if codec == "libsvtav1" else {})))
    assert (facts.media_type, facts.playable) == (media_type, playable)
    assert (facts.width, facts.height, facts.pixel_format, facts.has_audio) == (192, 96, "yuv420p", False)
    assert facts.duration_s == pytest.approx(2, abs=0.001)  # webm and mkv round times to milliseconds
    assert facts.is_evenly_spaced


def test_the_ending_of_the_name_does_not_matter(tmp_path):
    film = remuxed("h264_bframes_noedit.mp4", tmp_path / "film.mkv").rename(tmp_path / "film.mp4")
    assert examine(film).media_type == "video/x-matroska"


@pytest.mark.parametrize(
    "media_type, codec, pixel_format, playable",
    [
        ("video/mp4", "h264", "yuvj420p", True),
        ("video/mp4", "h264", "yuv420p10le", False),
        ("video/mp4", "h264", "yuv444p", False),
        ("video/mp4", "hevc", "yuv420p", False),
        ("video/mp4", "mpeg4", "yuv420p", False),
        ("video/mp4", "av1", "yuv420p10le", True),
        ("video/mp4", "vp8", "yuv420p", False),
        ("video/webm", "h264", "yuv420p", False),
        ("video/x-msvideo", "h264", "yuv420p", False),
    ],
)
def test_it_knows_what_every_browser_plays(media_type, codec, pixel_format, playable):
    assert is_playable(media_type, codec, pixel_format) == playable


@pytest.mark.parametrize("name, has_preview", [("depth_hevc_gray12.mp4", False), ("hevc_hvc1.mp4", True)])
def test_depth_has_no_preview(name, has_preview):
    facts = examine(FILMS / name)
    assert (facts.codec, facts.has_preview, facts.playable) == ("hevc", has_preview, False)


def test_it_finds_sound_beside_pictures(tmp_path):
    assert examine(encoded(tmp_path / "film.mp4", sound="aac")).has_audio


def test_sound_that_begins_earlier_does_not_move_the_first_picture(tmp_path):
    facts = examine(encoded(tmp_path / "film.webm", "libvpx", range(15, 75), sound="libopus"))
    assert facts.first_picture_s == 0.5


def test_the_clock_of_a_transport_stream_may_begin_again(tmp_path):
    """The clock has 33 bits at 90 kHz. It ends after 95,443.7 s."""
    facts = examine(remuxed("h264_bframes_noedit.mp4", tmp_path / "film.ts", shift_s=95_440))
    assert (facts.duration_s, facts.is_evenly_spaced) == (10.0, True)


def test_a_rotated_film_keeps_its_size_and_times(tmp_path):
    (tmp_path / "film.mp4").write_bytes(rotated(encoded(tmp_path / "upright.mp4").read_bytes(), 90))
    assert examine(tmp_path / "film.mp4") == examine(tmp_path / "upright.mp4")


def pictures(*times: int, last: int = 0, rate: int = 1000) -> Pictures:
    return Pictures(list(times), last, Fraction(1, rate))


@pytest.mark.parametrize(
    "given, duration_s, is_evenly_spaced",
    [
        (pictures(0, 33, 67, 100, 133, last=33), 0.16625, True),  # 30 a second in milliseconds
        (pictures(0, 33, 66, 100, 133, last=33), 0.16625, True),  # cut off instead of rounded
        (pictures(0, 33, 67, 100, 140, last=33), 0.173, False),  # the clock of a phone
        (pictures(0, 33, 67, 167, 200, last=33), 0.233, False),  # a hole
        (pictures(0, 33, 67, 100, last=200), 0.3, False),  # the last picture stays
        (pictures(0, 512, 1024, last=1, rate=15360), 0.1, True),  # the last one is declared to last one unit
        (pictures(0, 33, 67, 100, 500, last=0), 0.533, False),  # and here not at all: as the median picture
        (pictures(0, 20, 40, 60, last=20, rate=600), 80 / 600, True),  # QuickTime
        (pictures(0, 2, 5, 7, 10, last=2), 0.0125, True),  # 400 a second in milliseconds
        (pictures(0, 1, 4, 5, 6, last=1), 0.007, False),
        (pictures(0, last=40), 0.04, True),
        (pictures(0, last=0), 0.04, True),  # a single picture without a duration, at the usual rate
    ],
)
def test_it_measures_the_duration_and_whether_pictures_are_evenly_spaced(given, duration_s, is_evenly_spaced):
    found = measure(given, Fraction(25))
    assert (pytest.approx(found[0]), found[1]) == (duration_s, is_evenly_spaced)


class Packet(bytes):
    """A packet with the time that is its first argument, as a demuxer returns it."""

    def __new__(cls, pts, dts=None, content=b"\x10", **flags):
        packet = super().__new__(cls, content)
        packet.pts, packet.dts, packet.size, packet.duration = pts, dts, len(content), 1
        for name in ("is_keyframe", "is_discard", "is_corrupt"):
            setattr(packet, name, flags.get(name, False))
        return packet


def times_of(*packets: Packet, codec: str = "h264") -> list[int]:
    stream = SimpleNamespace(codec=SimpleNamespace(canonical_name=codec), time_base=Fraction(1, 30))
    return read_pictures(stream, packets).times


def test_pictures_that_refer_to_others_before_a_cut_do_not_count():
    """The first picture refers to lost ones, and so does the third, which is shown before the key picture."""
    assert times_of(Packet(0), Packet(3, is_keyframe=True), Packet(2), Packet(4)) == [3, 4]


def test_pictures_that_an_edit_list_discards_do_not_count():
    assert times_of(Packet(-1, is_keyframe=True, is_discard=True), Packet(0), Packet(1)) == [0, 1]


def test_pictures_that_vp8_hides_do_not_count():
    hidden = Packet(2, content=b"\0")
    assert times_of(Packet(0, is_keyframe=True), hidden, Packet(3), codec="vp8") == [0, 3]
    assert times_of(Packet(0, is_keyframe=True), hidden, Packet(3), codec="vp9") == [0, 2, 3]


def test_pictures_of_which_the_file_has_only_the_order_count():
    assert times_of(Packet(None, dts=0, is_keyframe=True), Packet(None, dts=1)) == [0, 1]


def test_it_refuses_a_film_that_ends_within_a_picture():
    with pytest.raises(NoVideo, match="it is cut off"):
        times_of(Packet(0, is_keyframe=True), Packet(1, is_corrupt=True))


def test_it_stops_reading_at_the_most_pictures(tmp_path, monkeypatch):
    film = encoded(tmp_path / "film.webm", "libvpx")  # its header does not say how many there are
    monkeypatch.setattr(examination, "MAX_PICTURES", 59)
    with pytest.raises(NoVideo, match="it has more than 59 video frames"):
        examine(film)


def test_it_refuses_pictures_of_too_many_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "MAX_PIXELS", 192 * 96 - 1)
    with pytest.raises(NoVideo, match="it is 192 x 96; at most 18431 pixels"):
        examine(encoded(tmp_path / "film.mp4"))


@pytest.mark.parametrize(
    "head, container",
    [
        (b"\0\0\0\x14ftypqt  ", QUICKTIME),
        (b"\0\0\x10\0moov", QUICKTIME),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", WEBM),
        ((b"G" + bytes(187)) * 5, MPEG_TS),
        ((bytes(4) + b"G" + bytes(187)) * 5, MPEG_TS),
    ],
)
def test_it_finds_the_container_by_the_first_bytes(head, container):
    assert container_of(head) == container


@pytest.mark.parametrize(
    "head, name",
    [
        (b"FLV\1", "it is FLV; mp4, mov, webm, mkv, avi or ts expected. To convert it: ffmpeg -i FILE -c:v libx264"),
        (b"OggS", "it is Ogg; mp4, mov, .* To convert it: ffmpeg"),
        (b"\0\0\1\xba", "it is an MPEG program stream; .* To convert it: ffmpeg"),
        (b"\0\0\0\1\x67", r"it is a video stream without a container \(H.264 or H.265\); .* To convert it: ffmpeg"),
        (b"#EXTM3U\n", r"it is a playlist \(HLS\); .* To convert it: ffmpeg"),
        (b"ffconcat version 1.0", r"it is a playlist \(FFmpeg's concat\); mp4, mov, webm, mkv, avi or ts expected$"),
        (b"<?xml", "it is XML"),
        (b"\0\0\0\x18styp", "it is a fragment of an mp4"),
        (b"\0\0\0\x18ftypheic", "it is a HEIF or AVIF image"),
        (b"\x89PNG\r\n", "it is a PNG image"),
        (b"\xff\xd8\xff\xe0", "it is a JPEG image"),
        (b"RIFF\0\0\0\0WAVE", "it is WAV audio"),
        (b"ID3\4", "it is MP3 audio"),
        ("a film\nin words, ü".encode(), "it is text"),
        (b"", "it is empty"),
        (bytes(2000), "it is a file that begins with zeros"),
        (b"\xde\xad\xbe\xef\0\1\2\3", "it is of no known video format"),
    ],
)
def test_it_refuses_other_formats_by_name(head, name):
    with pytest.raises(NoVideo, match=name):
        container_of(head)
