import pytest

from datasets.films import index
from datasets.tests.film_cameras import ROBOT, camera_of
from videos.tests.film_files import encoded


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return camera_of(encoded(tmp_path_factory.mktemp("films") / "film.mp4", times=range(10), **ROBOT)).films[0]


@pytest.fixture
def opened(film, monkeypatch):
    """Return the numbers of the films that are read, of which each has the index of `film`."""
    found, numbers = index.index_of(film), []
    monkeypatch.setattr(index, "_read", lambda film: numbers.append(film.video_id) or found)
    return numbers


def numbered(film, count):
    return [film._replace(video_id=-number) for number in range(1, count + 1)]


def test_it_reads_the_films_of_an_hour_once(film, opened):
    films = numbered(film, 4 * 360)  # four cameras, ten seconds a film
    cache = index._Cache(index.CACHE_BYTES)
    for each in films * 2:
        cache.get(each)
    assert len(opened) == len(films)


def test_it_keeps_the_films_that_were_used_last_up_to_a_number_of_bytes(film, opened):
    a, b, c = numbered(film, 3)
    cache = index._Cache(2 * index.index_of(film).size_bytes)
    for each in (a, b, a, c, a, c, b):
        cache.get(each)
    assert opened == [a.video_id, b.video_id, c.video_id, b.video_id]
    assert cache._bytes == 2 * index.index_of(film).size_bytes


def test_it_keeps_a_film_that_is_larger_than_all_it_may_keep(film, opened):
    cache = index._Cache(1)
    assert cache.get(film) is cache.get(film)


def test_it_counts_the_numbers_of_an_index(film):
    assert index.index_of(film).size_bytes == index.OBJECT_BYTES + 10 * (8 + 8 + 4) + 8 + 8
