"""Times of the pictures of a camera, on the session's clock."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from datasets.options import Options
from datasets.recording.frames import read
from datasets.recording.layout import layout_of
from datasets.recording.pictures import camera_features, cameras_of, left_out
from datasets.tests.entries import BEGIN_S, entry_of, session_of
from datasets.tests.film_cameras import painted
from datasets.tests.film_chunks import chunk_of, grid_us
from datasets.types import Camera, CameraFeature, Refused
from videos.models import VideoChunk
from videos.tests.film_files import FILMS, encoded

pytestmark = [pytest.mark.django_db, pytest.mark.once, pytest.mark.usefixtures("media")]


@pytest.fixture
def recorded():
    return session_of([{"action": [1]}] * 3)


def only_camera(session, **options) -> Camera:
    (camera,) = cameras_of(entry_of(session), Options(**options))
    return camera


@pytest.mark.parametrize("name", ["cv_mp4v.mp4", "offset5_edit.mp4", "h264_bframes_noedit.mp4", "short92.mp4"])
def test_an_even_film_fills_its_interval(recorded, name: str):
    chunk_of(recorded, FILMS / name, BEGIN_S + 0.25, 10)
    camera = only_camera(recorded)
    count = 276 if name == "short92.mp4" else 300
    assert np.abs(camera.times_us - grid_us(BEGIN_S + 0.25, count, count / 10)).max() <= 1
    assert camera.picture_numbers.tolist() == list(range(count)) and not camera.film_numbers.any()


def test_an_exact_film_keeps_its_own_times(recorded):
    chunk_of(recorded, FILMS / "short92.mp4", BEGIN_S, 10, timing="exact")
    assert np.abs(only_camera(recorded).times_us - grid_us(BEGIN_S, 276, 30)).max() <= 1


def test_a_film_of_variable_rate_keeps_its_hole(recorded):
    chunk_of(recorded, FILMS / "vfr_2s_hole.mp4", BEGIN_S, 10)
    times = only_camera(recorded).times_us
    assert len(times) == 239 and np.diff(times).max() > 2_000_000


def test_hidden_pictures_are_not_counted(recorded):
    chunk_of(recorded, FILMS / "cut_ss_copy.mp4", BEGIN_S, 6.5)
    camera = only_camera(recorded)
    assert len(camera.times_us) == 195 and camera.times_us[0] == BEGIN_S * 10**6


def test_two_chunks_are_one_camera(recorded):
    second = chunk_of(recorded, FILMS / "seg_1.mp4", BEGIN_S + 10, 5)
    first = chunk_of(recorded, FILMS / "cv_mp4v.mp4", BEGIN_S, 10)
    camera = only_camera(recorded)
    assert [film.video_id for film in camera.films] == [first.pk, second.pk]
    assert [film.codec for film in camera.films] == ["mpeg4", "h264"]
    assert camera.film_numbers.tolist() == [0] * 300 + [1] * 150
    assert camera.picture_numbers.tolist() == [*range(300), *range(150)]
    assert (np.diff(camera.times_us) > 0).all() and camera.times_us[300] == (BEGIN_S + 10) * 10**6


def test_a_film_is_shown_until_the_next_one_begins(recorded):
    chunk_of(recorded, FILMS / "cv_mp4v.mp4", BEGIN_S, 5, timing="exact")
    chunk_of(recorded, FILMS / "seg_1.mp4", BEGIN_S + 5, 5)
    camera = only_camera(recorded)
    assert camera.film_numbers.tolist() == [0] * 150 + [1] * 150
    assert (np.diff(camera.times_us) > 0).all()


def test_of_pictures_at_one_time_the_first_is_shown(recorded, tmp_path: Path):
    film = encoded(tmp_path / "film.mp4", times=range(6), bf="0")
    chunk_of(recorded, film, BEGIN_S, 2e-6)  # six pictures in two microseconds
    camera = only_camera(recorded)
    assert (camera.times_us - BEGIN_S * 10**6).tolist() == [0, 1, 2]
    assert camera.picture_numbers.tolist() == [0, 2, 5]


def test_cameras_have_the_keys_of_a_dataset_and_are_sorted(recorded):
    for camera in ("wrist", "observation.images.front"):
        chunk_of(recorded, FILMS / "seg_1.mp4", BEGIN_S, 5, camera)
    keys = [camera.key for camera in cameras_of(entry_of(recorded), Options())]
    assert keys == ["observation.images.front", "observation.images.wrist"]
    assert [camera.key for camera in cameras_of(entry_of(recorded), Options(cameras=("front",)))] == keys[:1]
    assert cameras_of(entry_of(recorded), Options(cameras=())) == []


def test_it_refuses_two_cameras_of_one_key(recorded):
    for camera in ("front", "observation.images.front"):
        chunk_of(recorded, FILMS / "seg_1.mp4", BEGIN_S, 5, camera)
    with pytest.raises(Refused, match=r"cameras front and observation.images.front, which are both"):
        cameras_of(entry_of(recorded), Options())


@pytest.mark.parametrize("camera", ["../../x", "a/b", "", "front.", "front\n"])
def test_it_refuses_a_camera_that_cannot_name_a_folder(recorded, camera: str):
    chunk_of(recorded, FILMS / "seg_1.mp4", BEGIN_S, 5, camera)
    for find in (cameras_of, camera_features):
        with pytest.raises(Refused, match=rf"session {recorded.pk} .*has a camera .*; letters, digits"):
            find(entry_of(recorded), Options())


@pytest.mark.parametrize("is_probed", [True, False])
def test_depth_is_left_out_with_a_warning(recorded, is_probed: bool):
    chunk_of(recorded, FILMS / "depth_hevc_gray12.mp4", BEGIN_S, 10, "depth", is_probed)
    entry = entry_of(recorded)
    assert cameras_of(entry, Options()) == [] and camera_features(entry, Options()) == []
    assert "camera depth left out" in left_out(entry, Options())[0]


def test_an_unprobed_film_has_the_same_times(recorded):
    chunk = chunk_of(recorded, FILMS / "short92.mp4", BEGIN_S, 10)
    known = only_camera(recorded)
    VideoChunk.objects.update(codec="", width=None, height=None, duration_s=None, is_evenly_spaced=None)
    found = only_camera(recorded)
    assert found.times_us.tolist() == known.times_us.tolist()
    assert found.films == known.films and found.films[0].sha256 == chunk.sha256
    assert camera_features(entry_of(recorded), Options()) == [CameraFeature("observation.images.front", 480, 640)]


@pytest.mark.parametrize("is_probed", [True, False])
def test_a_camera_of_an_odd_size_has_that_of_its_films_in_a_dataset(recorded, tmp_path: Path, is_probed: bool):
    film = painted(tmp_path / "odd.mkv", lambda number: np.zeros((49, 65, 3), np.uint8), 3, "ffv1", pix_fmt="yuv444p")
    chunk_of(recorded, film, BEGIN_S, 1, is_probed=is_probed)
    entry, expected = entry_of(recorded), [CameraFeature("observation.images.front", 48, 64)]
    assert camera_features(entry, Options()) == expected
    assert [*layout_of(read(entry), cameras_of(entry, Options()), entry, Options()).cameras] == expected


def test_it_names_a_missing_film_file(recorded):
    chunk = chunk_of(recorded, FILMS / "seg_1.mp4", BEGIN_S, 5)
    chunk.path.unlink()
    sentence = rf"session {recorded.pk} \(arm, .*: the file of video {chunk.pk} of camera front is missing or cut off"
    with pytest.raises(Refused, match=sentence):
        cameras_of(entry_of(recorded), Options())


def test_it_names_a_film_that_was_cut_off(recorded):
    chunk = chunk_of(recorded, FILMS / "seg_1.mp4", BEGIN_S, 5)
    chunk.path.write_bytes(b"x")
    with pytest.raises(Refused, match=f"video {chunk.pk} of camera front is missing or cut off"):
        cameras_of(entry_of(recorded), Options())


@pytest.mark.parametrize("is_probed", [True, False])
def test_it_names_a_film_that_is_not_readable(recorded, is_probed: bool):
    chunk = chunk_of(recorded, FILMS / "seg_1.mp4", BEGIN_S, 5, is_probed=is_probed)
    chunk.path.write_bytes(bytes(chunk.size))
    VideoChunk.objects.update(sha256=sha256(bytes(chunk.size)).hexdigest())
    with pytest.raises(Refused, match=f"video {chunk.pk} of camera front is not readable: it is a file that begins"):
        cameras_of(entry_of(recorded), Options())


def test_it_names_a_film_whose_bytes_have_changed(recorded):
    chunk = chunk_of(recorded, FILMS / "seg_1.mp4", BEGIN_S, 5)
    content = chunk.path.read_bytes()
    chunk.path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(Refused, match=f"the file of video {chunk.pk} of camera front is damaged; its SHA-256"):
        cameras_of(entry_of(recorded), Options())


def test_it_names_a_deleted_film(recorded):
    chunk = chunk_of(recorded, FILMS / "seg_1.mp4", BEGIN_S, 5)
    entry = entry_of(recorded)
    VideoChunk.objects.all().delete()
    for find in (cameras_of, camera_features):
        with pytest.raises(Refused, match=f"video {chunk.pk} of camera front was deleted"):
            find(entry, Options())


def test_it_refuses_films_of_different_sizes(recorded, tmp_path: Path):
    chunk_of(recorded, FILMS / "seg_1.mp4", BEGIN_S, 5)
    chunk_of(recorded, encoded(tmp_path / "small.mp4", times=range(3)), BEGIN_S + 5, 1)
    with pytest.raises(Refused, match=r"the films of observation.images.front have different sizes: 640 x 480 \(video"):
        cameras_of(entry_of(recorded), Options())
