from fractions import Fraction

import av
import numpy as np
import pytest

from datasets.films import h264
from datasets.films.copying import parts_of
from datasets.films.index import index_of
from datasets.tests.film_cameras import ROBOT, camera_of, packets_of, shown, written
from videos.tests.film_files import FILMS, encoded, number_of


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Return a film with a key picture in ten and irregular times."""
    times = np.arange(60) * 2 + np.arange(60) % 2
    return encoded(tmp_path_factory.mktemp("films") / "film.mp4", times=times.tolist(), **ROBOT)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Return a film with other parameters."""
    return encoded(tmp_path_factory.mktemp("films") / "other.mp4", **ROBOT | {"crf": "33", "preset": "faster"})


def copied_rows(camera, positions, codec="h264"):
    parts = parts_of(camera, np.array(positions), codec)
    return [(part.rows.start, part.rows.stop) for part in parts if part.is_copied]


def test_it_copies_consecutive_pictures_bit_for_bit(film, tmp_path):
    [span] = written(tmp_path, (camera_of(film), range(60)))
    assert packets_of(tmp_path / "0.mp4") == packets_of(film)
    assert (span.is_copied, span.copied_rows) == (True, 60)


@pytest.mark.parametrize(("name", "first"), [("offset5_edit.mp4", 0), ("seg_1.mp4", 150)])
def test_it_copies_films_that_do_not_begin_at_zero(name, first, tmp_path):
    [span] = written(tmp_path, (camera_of(FILMS / name), range(12)))
    assert span.is_copied
    with av.open(tmp_path / "0.mp4") as made:
        found = [(float(picture.time), number_of(picture)) for picture in made.decode(video=0)]
    assert found == [(pytest.approx(row / 30), first + row) for row in range(12)]


@pytest.mark.parametrize(("name", "fps"), [("film.mkv", 30), ("film.mp4", 7), ("film.mp4", 1000)])
def test_it_gives_copies_a_constant_rate(name, fps, tmp_path):
    [span] = written(tmp_path, (camera_of(encoded(tmp_path / name, **ROBOT)), range(60)), fps=fps)
    assert span.is_copied
    with av.open(tmp_path / "0.mp4") as made:
        times = [picture.pts * picture.time_base for picture in made.decode(video=0)]
    assert times == [Fraction(row, fps) for row in range(60)]


def test_it_does_not_turn_the_pictures_of_films_that_players_turn(film, tmp_path):
    with av.open(film) as source, av.open(tmp_path / "turned.mp4", "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(90)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    written(tmp_path, (camera_of(tmp_path / "turned.mp4"), range(60)))
    with av.open(tmp_path / "0.mp4") as made:
        assert next(made.decode(video=0)).rotation == 0


def test_it_copies_from_the_first_key_picture_on(film):
    assert copied_rows(camera_of(film), range(7, 40)) == [(3, 33)]


def test_it_copies_up_to_any_picture(film):
    assert copied_rows(camera_of(film), range(17)) == [(0, 17)]


def test_it_copies_up_to_a_repeated_picture(film):
    assert copied_rows(camera_of(film), [*range(15), 14, *range(15, 30)]) == [(0, 15), (21, 31)]


def test_it_copies_up_to_a_key_picture_that_does_not_stand_alone(film, monkeypatch):
    camera = camera_of(film)
    index = index_of(camera.films[0])
    other = index._replace(independent_times=np.delete(index.independent_times, 2))
    monkeypatch.setattr("datasets.films.copying.index_of", lambda film: other)
    assert copied_rows(camera, range(60)) == [(0, 20), (30, 60)]


def test_it_copies_no_key_picture_twice(film):
    assert copied_rows(camera_of(film), [*range(11), *range(10, 30)]) == [(0, 11), (21, 31)]


def test_it_copies_up_to_an_unused_picture(film):
    assert copied_rows(camera_of(film), [*range(15), *range(16, 30)]) == [(0, 15), (19, 29)]


def test_it_makes_no_short_copies(film):
    assert copied_rows(camera_of(film), np.repeat(range(60), 2)) == []


def test_it_copies_a_short_episode(film):
    assert copied_rows(camera_of(film), range(10, 13)) == [(0, 3)]


def test_it_copies_over_the_seam_of_two_films(film):
    assert copied_rows(camera_of(film, film), range(50, 70)) == [(0, 20)]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [("b.mp4", "libx264", {"bf": "2"}), ("m.mp4", "mpeg4", {}), ("t.ts", "libx264", ROBOT)],
)
def test_it_copies_no_films_that_do_not_fit(name, codec, options, tmp_path):
    assert copied_rows(camera_of(encoded(tmp_path / name, codec, **options)), range(60)) == []


def test_it_copies_no_film_of_another_codec_than_that_asked_for(film):
    assert copied_rows(camera_of(film), range(60), "av1") == []


def test_it_copies_av1(tmp_path):
    film = encoded(tmp_path / "film.mp4", "libsvtav1", range(20), preset="12", g="5")
    [span] = written(tmp_path, (camera_of(film), range(20)), codec="av1")
    assert span.is_copied
    assert packets_of(tmp_path / "0.mp4") == packets_of(film)


def test_it_appends_encoded_av1_to_copies(tmp_path):
    made = written(tmp_path, (camera_of(encoded(tmp_path / "b.mp4", bf="2")), range(30)), codec="av1")
    camera = camera_of(tmp_path / "0.mp4")
    spans = written(tmp_path / "a", (camera, range(30)), (camera, range(3, 25)), codec="av1")
    assert [made[0].copied_rows] + [span.copied_rows for span in spans] == [0, 30, 15]
    assert shown(tmp_path / "a/0.mp4") == [*range(30), *range(3, 25)]


def test_it_puts_copied_and_encoded_pictures_into_one_film(film, tmp_path):
    positions = [*range(7, 25), 24, *range(25, 60)]
    [span] = written(tmp_path, (camera_of(film), positions))
    assert shown(tmp_path / "0.mp4") == positions
    assert (span.is_copied, span.copied_rows) == (False, 15 + 30)
    assert packets_of(tmp_path / "0.mp4")[3:18] == packets_of(film)[10:25]


def test_it_appends_an_encoded_episode_to_copies(film, tmp_path):
    camera = camera_of(film)
    spans = written(tmp_path, (camera, range(20)), (camera, range(3, 9)), (camera, range(20)))
    assert [span.file_number for span in spans] == [0, 0, 0]
    assert shown(tmp_path / "0.mp4") == [*range(20), *range(3, 9), *range(20)]


def test_it_begins_a_new_film_for_copies_with_other_parameters(film, other, tmp_path):
    spans = written(tmp_path, (camera_of(film), range(20)), (camera_of(other), range(30)))
    assert [span.file_number for span in spans] == [0, 1]
    assert shown(tmp_path / "1.mp4") == [*range(30)]


def test_it_encodes_an_episode_whose_films_contradict_each_other(film, other, tmp_path):
    [span] = written(tmp_path, (camera_of(film, other), range(50, 70)))
    assert span.copied_rows == 0
    assert shown(tmp_path / "0.mp4") == [*range(50, 60), *range(10)]


def test_it_copies_a_film_that_it_has_written(film, tmp_path):
    written(tmp_path / "a", (camera_of(film), range(7, 60)))
    [span] = written(tmp_path / "b", (camera_of(tmp_path / "a/0.mp4"), range(53)))
    assert span.is_copied
    assert shown(tmp_path / "b/0.mp4") == [*range(7, 60)]


def test_it_writes_the_parameters_that_ffmpeg_writes(film):
    with av.open(film) as opened:
        avcc = opened.streams.video[0].codec_context.extradata
    assert h264.make_avcc(h264.parameter_sets(avcc)) == avcc


def test_it_takes_no_key_picture_that_brings_other_parameters(film, other):
    with av.open(film) as opened, av.open(other) as second:
        avcc = opened.streams.video[0].codec_context.extradata
        foreign = h264.parameter_sets(second.streams.video[0].codec_context.extradata)
    packet = packets_of(film)[10]
    assert h264.is_independent(packet, avcc)
    assert not h264.is_independent(h264.with_lengths(foreign) + packet, avcc)


def test_it_takes_no_key_picture_that_later_ones_may_look_behind():
    recovery_point = h264.with_lengths([bytes([1, 0x80, 0x80])])
    assert not h264.is_independent(recovery_point, h264.make_avcc((b"\x67\x42\xc0\x1e\x80", b"\x68\x80")))


def test_it_reads_the_numbers_of_parameter_sets():
    assert h264.number_of(b"\x67\x42\xc0\x1e\x80") == (h264.SPS, 0)
    assert h264.number_of(b"\x67\x64\x00\x1e\x04\x0b") == (h264.SPS, 31)
    assert h264.number_of(b"\x68\x40") == (h264.PPS, 1)
