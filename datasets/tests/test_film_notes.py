import re

import numpy as np
import pytest

from datasets.films.picture_stats import PictureStats, sampled_rows, thinned
from datasets.tests.film_cameras import ROBOT, camera_of, painted, written

RANDOM = np.random.default_rng(17)
SCENE = RANDOM.integers(0, 256, (96, 128, 3))


def noisy(number: int, noise=1.0) -> np.ndarray:
    """Return a still scene with the noise of a camera."""
    return (SCENE + np.random.default_rng(number).normal(0, noise, SCENE.shape)).clip(0, 255).astype(np.uint8)


def frozen_for_three_seconds(number: int) -> np.ndarray:
    return noisy(10 if 10 <= number < 100 else number)


@pytest.fixture(scope="module", params=["copied", "encoded"])
def options(request):
    """Return the options of an encoder: its films are copied, or have to be encoded again."""
    return ROBOT if request.param == "copied" else {"preset": "ultrafast", "bf": "2", "g": "10"}


def warnings_of(film):
    [span] = written(film.parent, (camera_of(film), range(100)))
    return span.warnings


def test_it_warns_of_a_frozen_camera(options, tmp_path):
    [warning] = warnings_of(painted(tmp_path / "film.mp4", frozen_for_three_seconds, 100, **options))
    pattern = r"camera \S+.front is frozen: it gives the same picture for at least [12]\.\d s from 2023-\S+ on"
    assert re.fullmatch(pattern, warning)


def test_it_does_not_warn_of_a_still_scene(options, tmp_path):
    assert warnings_of(painted(tmp_path / "film.mp4", noisy, 100, **options)) == ()


def test_it_does_not_warn_of_a_still_scene_whose_noise_an_encoder_removes(options, tmp_path):
    film = painted(tmp_path / "film.mp4", lambda number: noisy(number, 0.2), 100, **options | {"g": "50", "crf": "30"})
    assert warnings_of(film) == ()


def test_it_does_not_warn_of_a_picture_that_stays_for_less_than_a_second(options, tmp_path):
    film = painted(tmp_path / "film.mp4", lambda number: noisy(number // 25), 100, **options)
    assert warnings_of(film) == ()


def test_it_does_not_warn_of_a_picture_that_many_rows_repeat(tmp_path):
    camera = camera_of(painted(tmp_path / "film.mp4", noisy, 10, **ROBOT))
    [span] = written(tmp_path, (camera, [3] * 100))
    assert span.warnings == ()


@pytest.mark.parametrize(
    ("length", "samples"), [(1, 1), (60, 60), (100, 100), (500, 105), (1000, 177), (10_000, 1000), (10**6, 10_000)]
)
def test_it_samples_as_many_pictures_as_lerobot(length, samples):
    rows = sampled_rows(length)
    assert (len(rows), rows[0], rows[-1]) == (samples, 0, length - 1)


def test_it_samples_the_rows_of_lerobot():
    assert sampled_rows(150).tolist() == np.round(np.linspace(0, 149, 100)).astype(int).tolist()


@pytest.mark.parametrize(
    ("size", "small"),
    [((240, 299), (240, 299)), ((480, 640), (120, 160)), ((640, 480), (160, 120)), ((720, 1280), (90, 160))],
)
def test_it_thins_pictures_out_as_lerobot_does(size, small):
    assert thinned(np.zeros((*size, 3), np.uint8)).shape == (*small, 3)


def test_it_computes_exact_statistics():
    pictures = RANDOM.integers(10, 250, (5, 40, 60, 3), np.uint8)
    stats = PictureStats()
    for picture in pictures:
        stats.feed(picture)
    found, pixels = stats.result(), pictures.reshape(-1, 3) / 255
    for name in ("min", "max", "mean", "std"):
        assert found[name].ravel() == pytest.approx(getattr(pixels, name)(axis=0), rel=1e-12)
    for name, share in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        assert found[name].ravel() == pytest.approx(np.quantile(pixels, share, axis=0), abs=1.5 / 255)
    assert found["count"].tolist() == [5]


def test_it_gives_the_statistics_of_one_level():
    stats = PictureStats()
    stats.feed(np.full((10, 10, 3), 51, np.uint8))
    for name, value in stats.result().items():
        expected = 1 if name == "count" else 0 if name == "std" else 0.2
        assert value.ravel() == pytest.approx(expected)
