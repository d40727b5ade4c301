"""The poster: a small JPEG of the first picture that is shown."""

import av
import numpy
import pytest

from videos.film.facts import NoVideo
from videos.film.poster import write_poster
from videos.tests.film_files import FILMS, encoded, number_of, pictures
from videos.tests.mp4_boxes import rotated

# The corner that is bright: right or not, below or not.
CORNERS = {0: (False, False), 90: (True, False), 180: (True, True), 270: (False, True)}


@pytest.fixture
def poster(tmp_path):
    def poster_of(film) -> av.VideoFrame:
        write_poster(film, tmp_path / "poster.jpg.part")
        assert (tmp_path / "poster.jpg.part").read_bytes()[:3] == b"\xff\xd8\xff"
        return pictures(tmp_path / "poster.jpg.part")[0]

    return poster_of


def still(path, width: int, height: int):
    """Write a film of one dark picture with a bright corner, at the upper left."""
    picture = numpy.zeros((height, width), "uint8")
    picture[: height // 3, : width // 3] = 255
    with av.open(path, "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")))
        film.mux(stream.encode())
    return path


@pytest.mark.parametrize("name, number", [("cut_ss_copy.mp4", 105), ("seg_1.mp4", 150), ("hevc_hvc1.mp4", 0)])
def test_it_shows_the_first_picture(poster, name, number):
    picture = poster(FILMS / name)
    assert (picture.width, picture.height, number_of(picture)) == (320, 240, number)


@pytest.mark.parametrize("degrees, corner", CORNERS.items())
def test_it_is_upright(poster, tmp_path, degrees, corner):
    upright = still(tmp_path / "upright.mp4", 640, 320)
    (tmp_path / "film.mp4").write_bytes(rotated(upright.read_bytes(), degrees))
    picture = poster(tmp_path / "film.mp4")
    assert (picture.width, picture.height) == ((160, 320) if degrees in (90, 270) else (320, 160))
    grey, is_right, is_below = picture.to_ndarray(format="gray"), *corner
    bright = grey[-10 if is_below else 10, -10 if is_right else 10]
    assert bright > 200 and (grey > 127).mean() < 0.2


@pytest.mark.parametrize("width, height, size", [(2, 2, (2, 2)), (63, 47, (64, 48)), (1000, 10, (320, 4))])
def test_it_keeps_a_small_size_and_has_even_sides(poster, tmp_path, width, height, size):
    picture = poster(still(tmp_path / "film.mp4", width, height))
    assert (picture.width, picture.height) == size


def test_it_has_square_pixels(poster, tmp_path):
    with av.open(tmp_path / "film.mkv", "w") as film:
        stream = film.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 160, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        film.mux(stream.encode(av.VideoFrame(160, 160)))
        film.mux(stream.encode())
    picture = poster(tmp_path / "film.mkv")
    assert (picture.width, picture.height) == (320, 160)


def test_it_refuses_a_film_of_broken_pictures(poster, tmp_path):
    film = encoded(tmp_path / "film.mkv", times=range(1))
    content = film.read_bytes()
    at = content.index(b"\xa3", content.index(b"\x1f\x43\xb6\x75"))  # the first block of the first cluster
    film.write_bytes(content[: at + 8] + bytes(len(content) - at - 8))
    with pytest.raises(NoVideo):
        poster(film)
