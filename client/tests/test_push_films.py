"""Films of episodes, cut out of the films of datasets."""

from fractions import Fraction

import av
import pytest
from push_fixtures import FPS, LENGTHS, V3_AV1, V3_H264, V21_AV1, packet_bytes, shown, write_film
from teleop_client.camera.film_file import FilmUnusable
from teleop_client.push.dataset import FilmSpan
from teleop_client.push.films import Picture, Piece, cut, plan


def film_of(dataset, camera="front"):
    return dataset / f"videos/observation.images.{camera}/chunk-000/file-000.mp4"


def cut_numbers(film, first, length, folder, fps=FPS):
    """Cut rows out of a film whose picture n shows n; return the pieces and what they show, row by row."""
    pieces, found = [], []
    for piece, path in cut(FilmSpan(film, first / fps, (first + length) / fps), length, fps, folder):
        pictures = shown(path)
        assert [time for _, time in pictures] == [Fraction(row, fps) for row in range(piece.length)]
        pieces.append(piece)
        found += [number for number, _ in pictures]
    return pieces, found


@pytest.mark.parametrize("dataset", [V3_H264, V3_AV1])
def test_it_copies_the_packets_of_each_episode(dataset, tmp_path):
    film, first = film_of(dataset), 0
    for length in LENGTHS:
        pieces, numbers = cut_numbers(film, first, length, tmp_path)
        assert (pieces, numbers) == ([Piece(0, length, True)], list(range(first, first + length)))
        assert packet_bytes(tmp_path / "0.mp4") == packet_bytes(film, first, first + length)
        first += length


def test_it_copies_a_film_of_one_episode(tmp_path):
    film = V21_AV1 / "videos/chunk-000/observation.images.wrist/episode_000001.mp4"
    (piece, path) = next(cut(FilmSpan(film, 0.0, 2.0), LENGTHS[1], FPS, tmp_path))
    assert piece.is_copied
    assert [number for number, _ in shown(path)] == list(range(90, 150))


@pytest.mark.parametrize("dataset", [V3_H264, V3_AV1])
def test_it_encodes_only_the_pictures_before_the_first_key_frame(dataset, tmp_path):
    pieces, numbers = cut_numbers(film_of(dataset), 91, 50, tmp_path)
    assert pieces == [Piece(0, 1, False), Piece(1, 50, True)]
    assert numbers == list(range(91, 141))


@pytest.mark.parametrize("options", [{"bf": "3", "g": "10"}, {"bf": "3", "g": "10", "x264-params": "open-gop=1"}])
def test_it_keeps_pictures_exact_in_a_film_with_b_frames(options, tmp_path):
    film = write_film(tmp_path / "film.mp4", preset="medium", sc_threshold="0", **options)
    for first, length in ((0, 60), (10, 20), (13, 30)):
        pieces, numbers = cut_numbers(film, first, length, tmp_path)
        assert numbers == list(range(first, first + length))
        assert any(piece.is_copied for piece in pieces)


def test_two_cuts_have_the_same_bytes(tmp_path):
    film = write_film(tmp_path / "film.mp4", g="20")
    files = []
    for turn in "ab":
        (folder := tmp_path / turn).mkdir()
        cut_numbers(film, 13, 40, folder)
        files.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert files[0] == files[1]
    assert len(files[0]) == 2


def test_it_encodes_a_film_of_odd_size(tmp_path):
    film = write_film(tmp_path / "film.mp4", size=(161, 121), pix_fmt="yuv444p", g="1000")
    pieces, numbers = cut_numbers(film, 5, 20, tmp_path)
    assert (pieces, numbers) == ([Piece(0, 20, False)], list(range(5, 25)))


def test_it_reads_a_film_whose_clock_is_not_exact(tmp_path):
    times = [3 + number + 0.1 * (number % 2) for number in range(30)]
    film = write_film(tmp_path / "film.mp4", times=times, g="1")
    span = FilmSpan(film, 3.0001 / FPS, 33 / FPS)
    ((piece, path),) = cut(span, 30, FPS, tmp_path)
    assert piece.is_copied
    assert shown(path) == [(number, Fraction(number, FPS)) for number in range(30)]


@pytest.mark.parametrize(
    ("times", "length", "sentence"),
    [
        (range(30), 31, "has no picture for row 30 of the episode, which has 31"),
        ([*range(10), *range(11, 31)], 30, "has no picture for row 10 "),
        ([*range(10), 9.2, *range(11, 30)], 30, "has two pictures for row 9 "),
        ([*range(10), 10.4, *range(11, 30)], 30, "has a picture +13.3 ms off row 10 "),
    ],
)
def test_it_names_the_row_that_the_film_does_not_fit(times, length, sentence, tmp_path):
    film = write_film(tmp_path / "film.mp4", times=times)
    with pytest.raises(FilmUnusable, match=sentence.replace("+", r"\+")):
        list(cut(FilmSpan(film, 0.0, length / FPS), length, FPS, tmp_path))


def test_it_follows_no_list_of_other_films(tmp_path):
    write_film(tmp_path / "other.mp4")
    (tmp_path / "film.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(FilmUnusable, match=r"film\.mp4 cannot be read"):
        list(cut(FilmSpan(tmp_path / "film.mp4", 0.0, 1.0), 30, FPS, tmp_path))


def test_it_needs_a_picture(tmp_path):
    with av.open(str(tmp_path / "film.mp4"), "w") as output:
        output.add_stream("aac", rate=8000)
        output.start_encoding()
    with pytest.raises(FilmUnusable, match=r"film\.mp4 cannot be read"):
        list(cut(FilmSpan(tmp_path / "film.mp4", 0.0, 1.0), 30, FPS, tmp_path))


def test_it_plans_pieces_that_end_at_key_frames():
    pictures = [Picture(row, row % 10 == 0) for row in range(56)]
    assert plan(pictures, 56, 25) == [Piece(0, 20, True), Piece(20, 40, True), Piece(40, 56, True)]
    assert plan(pictures[:-1], 55, 5) == [Piece(first, min(first + 10, 55), True) for first in range(0, 55, 10)]


def test_it_plans_no_cut_where_a_key_frame_is_stored_before_earlier_pictures():
    # An open group of pictures: 8 and 9 are shown before the key frame 10, and need it.
    pictures = [Picture(row, row % 10 == 0) for row in (0, 1, 2, 3, 4, 5, 6, 7, 10, 8, 9, 11)]
    assert plan(pictures, 12, 100) == [Piece(0, 12, True)]
    assert plan(pictures[:-1], 10, 100) == [Piece(0, 10, False)]
    later = [Picture(row - 10, is_key) for row, is_key in pictures]
    assert plan(later, 2, 100) == [Piece(0, 2, True)]


def test_it_plans_no_cut_before_pictures_that_are_already_stored():
    pictures = [Picture(row, row % 2 == 0) for row in (0, 3, 2, 1)]
    assert plan(pictures, 4, 100) == [Piece(0, 4, True)]
    assert plan(pictures, 4, 2) == [Piece(0, 4, True)]
