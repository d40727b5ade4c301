import numpy as np
import pytest

from datasets.films.reader import pictures
from datasets.tests.film_cameras import ROBOT, camera_of, damaged
from datasets.types import Refused
from videos.tests.film_files import FILMS, encoded, number_of


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return encoded(tmp_path_factory.mktemp("films") / "film.mp4", **ROBOT)


def numbers(camera, positions):
    return [number_of(picture) for _, picture in pictures(camera, np.array(positions))]


def test_it_decodes_the_pictures_at_the_positions(film):
    assert numbers(camera_of(film), [3, 4, 30, 59]) == [3, 4, 30, 59]


def test_it_repeats_a_picture_for_a_repeated_position(film):
    assert [position for position, _ in pictures(camera_of(film), np.array([7, 7, 8, 8, 8]))] == [7, 7, 8, 8, 8]


def test_it_begins_at_a_late_picture(film):
    assert numbers(camera_of(film), [57]) == [57]


def test_it_goes_on_in_the_next_film(film):
    assert numbers(camera_of(film, film), [58, 59, 60, 61]) == [58, 59, 0, 1]


def test_it_decodes_pictures_that_refer_to_later_ones(tmp_path):
    camera = camera_of(encoded(tmp_path / "b.mp4", bf="3", g="12"))
    assert numbers(camera, [0, 1, 11, 12, 13, 40]) == [0, 1, 11, 12, 13, 40]


def test_it_counts_from_the_first_picture_that_an_edit_list_shows():
    assert numbers(camera_of(FILMS / "cut_ss_copy.mp4"), [0, 1, 5]) == [105, 106, 110]


def test_it_decodes_a_film_whose_packets_have_no_times(tmp_path):
    camera = camera_of(encoded(tmp_path / "film.avi", "mpeg4"))
    assert numbers(camera, [2, 30, 59]) == [2, 30, 59]


def test_it_decodes_groups_whose_first_pictures_refer_to_the_group_before(tmp_path):
    camera = camera_of(encoded(tmp_path / "b.mp4", bf="3", g="12", **{"x264-params": "open-gop=1"}))
    for first in range(60):
        assert numbers(camera, [first, 59]) == [first, 59]


def zeros(packet: bytes) -> bytes:
    return bytes(len(packet))


def garbage(packet: bytes) -> bytes:
    return packet[:5] + np.random.default_rng(0).bytes(len(packet) - 5)


def cut(packet: bytes) -> bytes:
    return packet[: len(packet) // 2]


@pytest.mark.parametrize("damage", [zeros, garbage, cut])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_it_refuses_a_broken_picture(codec, damage, tmp_path):
    film = encoded(tmp_path / "film.mp4", codec, g="10")
    with pytest.raises(Refused, match="cannot be decoded"):
        numbers(camera_of(damaged(film, tmp_path / "damaged.mp4", 25, damage)), range(60))


def test_it_names_the_video_and_the_time_of_a_broken_picture(film, tmp_path):
    camera = camera_of(damaged(film, tmp_path / "damaged.mp4", 25, zeros))
    with pytest.raises(Refused, match=f"video {camera.films[0].video_id}: picture 25 .*22:13:20.833333.* decoded"):
        numbers(camera, range(60))


def test_it_decodes_the_groups_before_a_broken_picture(film, tmp_path):
    assert numbers(camera_of(damaged(film, tmp_path / "damaged.mp4", 25, zeros)), [18, 19]) == [18, 19]


def test_it_refuses_a_file_that_is_no_film(film, tmp_path):
    camera = camera_of(film)
    other = camera.films[0]._replace(path=tmp_path / "none.mp4")
    (tmp_path / "none.mp4").write_bytes(b"text")
    with pytest.raises(Refused, match=f"video {other.video_id} is not readable"):
        numbers(camera._replace(films=(other,)), [0])
