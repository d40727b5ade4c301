import av
import numpy as np
import pytest

from datasets.films.annexb import packets
from datasets.films.h264 import DELIMITER, IDR, PPS, SPS, kind_of, units_of_annex_b, with_lengths
from datasets.tests.film_cameras import ROBOT, camera_of, damaged, packets_of
from videos.tests.film_files import FILMS, encoded, number_of


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    return camera_of(encoded(tmp_path_factory.mktemp("films") / "film.mp4", times=range(30), **ROBOT))


def shown(messages):
    """Decode the messages one by one, as a viewer does; return the numbers that the pictures show."""
    decoder = av.CodecContext.create("h264", "r")
    pictures = [picture for message in messages for picture in decoder.decode(av.Packet(message.data))]
    return [number_of(picture) for picture in [*pictures, *decoder.decode(None)]]


def test_it_gives_a_message_for_each_picture_with_its_time(camera):
    messages = list(packets(camera))
    assert [message.time_us for message in messages] == camera.times_us.tolist()
    assert shown(messages) == [*range(30)]


def test_it_puts_the_parameters_before_each_key_picture(camera):
    for number, message in enumerate(packets(camera)):
        kinds = [kind_of(unit) for unit in units_of_annex_b(message.data)]
        assert message.is_key == (number % 10 == 0)
        assert (kinds[:2] == [SPS, PPS]) == message.is_key


def test_it_puts_the_parameters_behind_a_delimiter(camera, tmp_path):
    delimiter = with_lengths([bytes([DELIMITER, 0xF0])])
    film = damaged(camera.films[0].path, tmp_path / "film.mp4", 10, lambda packet: delimiter + packet)
    messages = list(packets(camera_of(film)))
    assert [kind_of(unit) for unit in units_of_annex_b(messages[10].data)] == [DELIMITER, SPS, PPS, IDR]
    assert shown(messages) == [*range(30)]


def test_it_copies_the_pictures(camera):
    copied = packets_of(camera.films[0].path)[5]
    assert units_of_annex_b(list(packets(camera))[5].data) == (copied[4:],)


def test_it_begins_at_any_picture(camera):
    messages = list(packets(camera, np.arange(7, 22)))
    assert messages[0].is_key
    assert shown(messages) == [*range(7, 22)]


@pytest.mark.parametrize("name", ["frag_bframes.mp4", "cv_mp4v.mp4"])
def test_it_encodes_what_viewers_cannot_decode(name):
    messages = list(packets(camera_of(FILMS / name), np.arange(20)))
    decoder = av.CodecContext.create("h264", "r")
    decoder.flags |= av.codec.context.Flags.low_delay  # a picture comes out with its own message
    assert [number_of(*decoder.decode(av.Packet(message.data))) for message in messages] == [*range(20)]


def test_it_goes_on_behind_a_seam(camera):
    film = camera.films[0].path
    assert shown(packets(camera_of(film, film), np.arange(25, 40))) == [*range(25, 30), *range(10)]
