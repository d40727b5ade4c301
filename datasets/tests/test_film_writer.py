from fractions import Fraction

import av
import numpy as np
import pytest

from datasets.tests.film_cameras import ROBOT, camera_of, painted, shown, written
from datasets.types import Refused
from videos.tests.film_files import FILMS, encoded


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """Return a camera whose pictures have irregular times and refer to later ones, so that they are encoded again."""
    times = np.arange(60) * 2 + np.arange(60) % 2
    return camera_of(encoded(tmp_path_factory.mktemp("films") / "film.mp4", times=times.tolist(), bf="2"))


def test_it_shows_row_n_at_n_divided_by_the_rate(camera, tmp_path):
    written(tmp_path, (camera, range(60)), fps=50)
    with av.open(tmp_path / "0.mp4") as film:
        stream = film.streams.video[0]
        assert [picture.pts * picture.time_base for picture in film.decode(stream)] == [
            Fraction(row, 50) for row in range(60)
        ]
        assert (stream.average_rate, stream.frames, stream.start_time) == (50, 60, 0)


def test_it_repeats_and_leaves_out_pictures(camera, tmp_path):
    positions = [5, 5, 6, 8, 8, 8, 30]
    written(tmp_path, (camera, positions))
    assert shown(tmp_path / "0.mp4") == positions


def test_it_appends_episodes_to_one_film(camera, tmp_path):
    spans = written(tmp_path, (camera, range(20)), (camera, range(40, 60)))
    assert [span[:3] for span in spans] == [(0, 0, 20), (0, 20, 20)]
    assert shown(tmp_path / "0.mp4") == [*range(20), *range(40, 60)]


def test_it_begins_a_new_film_when_one_is_full(camera, tmp_path):
    spans = written(tmp_path, *[(camera, range(10))] * 3, max_file_bytes=1)
    assert [(span.file_number, span.first_row) for span in spans] == [(0, 0), (1, 0), (2, 0)]


def test_it_writes_one_film_an_episode(camera, tmp_path):
    written(tmp_path, *[(camera, range(10))] * 2, one_per_episode=True)
    assert shown(tmp_path / "1.mp4") == [*range(10)]


@pytest.mark.parametrize("codec", ["h264", "av1"])
def test_it_writes_the_same_bytes_again(codec, camera, tmp_path):
    for name in "ab":
        written(tmp_path / name, (camera, range(20)), (camera, range(7, 15)), codec=codec)
    assert (tmp_path / "a/0.mp4").read_bytes() == (tmp_path / "b/0.mp4").read_bytes()


@pytest.mark.parametrize("name", [b"elst", b"Lavf"])
def test_it_has_neither_edit_lists_nor_versions(name, camera, tmp_path):
    written(tmp_path, (camera, range(10)))
    assert name not in (tmp_path / "0.mp4").read_bytes()


def test_it_has_a_key_picture_in_ten(camera, tmp_path):
    written(tmp_path, (camera, range(30)))
    with av.open(tmp_path / "0.mp4") as film:
        assert [picture.key_frame for picture in film.decode(video=0)] == [row % 10 == 0 for row in range(30)]


@pytest.mark.parametrize("name", ["cv_mp4v.mp4", "frag_bframes.mp4", "hevc_hvc1.mp4", "vfr_2s_hole.mp4"])
def test_it_writes_any_film(name, tmp_path):
    camera = camera_of(FILMS / name)
    written(tmp_path, (camera, range(1, 31, 2)))
    assert shown(tmp_path / "0.mp4") == [*range(1, 31, 2)]


@pytest.mark.parametrize("is_copied", [True, False])
def test_it_tells_how_many_rows_it_has_written(is_copied, tmp_path):
    told, form = [], ROBOT if is_copied else {"codec": "ffv1"}
    long = camera_of(encoded(tmp_path / "film.mkv", times=range(320), **form))
    spans = written(tmp_path, (long, range(320)), (long, range(5)), on_rows=told.append)
    assert [span.is_copied for span in spans] == [is_copied] * 2
    assert told == [300, 20, 5]


def test_what_is_raised_while_it_tells_ends_the_writing(camera, tmp_path):
    with pytest.raises(Refused, match="20 rows are too many"):
        written(tmp_path, (camera, range(20)), on_rows=refuse)


def refuse(rows: int) -> None:
    raise Refused(f"{rows} rows are too many")


def test_it_encodes_av1(camera, tmp_path):
    written(tmp_path, (camera, range(5, 15)), codec="av1")
    assert shown(tmp_path / "0.mp4") == [*range(5, 15)]
    with av.open(tmp_path / "0.mp4") as film:
        assert film.streams.video[0].codec.canonical_name == "av1"


def test_it_leaves_out_the_last_column_and_line_of_odd_sizes(tmp_path):
    lines = np.zeros((121, 161, 3), np.uint8)
    lines[:, ::8] = 200
    film = painted(tmp_path / "odd.mkv", lambda number: lines, 4, "ffv1", pix_fmt="yuv444p")
    written(tmp_path, (camera_of(film), range(4)))
    with av.open(tmp_path / "0.mp4") as made:
        picture = next(made.decode(video=0)).to_ndarray(format="gray")
    assert picture.shape == (120, 160)
    assert np.abs(picture.astype(int) - lines[:120, :160, 0]).mean() < 8


@pytest.mark.parametrize(("name", "codec"), [("film.avi", "mjpeg"), ("film.mp4", "libx264"), ("film.mp4", "libsvtav1")])
def test_it_keeps_the_colours_of_films_with_all_levels(name, codec, tmp_path):
    colours = np.full((64, 64, 3), (60, 200, 120), np.uint8)
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    film = painted(tmp_path / name, lambda number: colours, 4, codec, pix_fmt=pixel_format, color_range="2")
    written(tmp_path, (camera_of(film), range(4)))
    with av.open(tmp_path / "0.mp4") as made:
        assert np.abs(next(made.decode(video=0)).to_ndarray(format="rgb24").astype(int) - colours).max() <= 5


def test_it_refuses_a_camera_whose_films_have_different_sizes(camera, tmp_path):
    grey = np.full((48, 64, 3), 128, np.uint8)
    both = camera_of(camera.films[0].path, painted(tmp_path / "small.mp4", lambda number: grey))
    with pytest.raises(Refused, match=f"video {both.films[1].video_id}: picture 0 .* it is 64 x 48; 192 x 96 expected"):
        written(tmp_path, (both, range(55, 65)))


def test_it_adds_the_statistics_of_the_pictures(camera, tmp_path):
    [span] = written(tmp_path, (camera, range(60)))
    assert span.stats["count"].tolist() == [60]
    assert span.stats["mean"].shape == (3, 1, 1)
    assert span.stats["min"].max() < 0.1 < 0.9 < span.stats["max"].min()


def test_it_adds_statistics_of_the_robots_pictures(tmp_path):
    robots = camera_of(encoded(tmp_path / "film.mp4", **ROBOT))
    [span] = written(tmp_path, (robots, range(60)))
    assert span.is_copied
    assert span.stats["count"].tolist() == [60]
