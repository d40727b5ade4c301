"""Pictures in MCAP: H.264 of which each message is a picture, at the time of the picture."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
from mcap.reader import make_reader

from datasets.formats.mcap import McapWriter, file_name
from datasets.options import Options
from datasets.recording.frames import read
from datasets.recording.pictures import cameras_of
from datasets.tests.entries import entry_of
from datasets.tests.film_chunks import chunk_of
from datasets.tests.frozen import manifest_of
from datasets.tests.mcap_files import findings, records, rewrite
from datasets.types import SessionEntry
from datasets.verification.mcap import verify
from teleop.models import TeleopSession
from teleop.tests.recordings import T0_S, make_session
from videos.tests.film_files import encoded, number_of

pytestmark = [pytest.mark.django_db, pytest.mark.once]
FRONT = "/observation/images/front"
START_CODE = b"\x00\x00\x00\x01"
KEYS_ONLY = {"g": "1", "preset": "ultrafast"}
T0_NS = T0_S * 10**9


@pytest.fixture
def session() -> TeleopSession:
    session = make_session(range(3))
    session.frame_count = 3
    session.save()
    return session


def write(folder: Path, session: TeleopSession) -> tuple[Path, SessionEntry]:
    folder.mkdir()
    entry, options = entry_of(session, format="mcap"), Options(format="mcap")
    with McapWriter(folder, options) as writer:
        writer.add_session(entry, read(entry), cameras_of(entry, options))
    return folder / file_name(entry), entry


def data_of(message: Any) -> bytes:
    return b64decode(json.loads(message.data)["data"])


def shown(path: Path) -> list[int]:
    """Return the numbers that the pictures show, each decoded as soon as its message is there."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.flags |= av.codec.context.Flags.low_delay
    decoder.thread_count = 1
    pictures = [decoder.decode(av.Packet(data_of(message))) for message in records(path, FRONT)]
    return [number_of(frame) for frames in pictures for frame in frames]


def with_content(message: Any, **changes: Any) -> Any:
    return replace(message, data=json.dumps(json.loads(message.data) | changes).encode())


def with_data(message: Any, data: bytes) -> Any:
    return with_content(message, data=b64encode(data).decode())


def test_it_writes_each_picture_at_its_time(tmp_path, session):
    chunk_of(session, encoded(tmp_path / "film.mp4", times=range(30), **KEYS_ONLY), T0_S + 0.25, 1.0)
    path, _ = write(tmp_path / "out", session)
    assert [message.log_time for message in records(path, FRONT)][:3] == [
        T0_NS + n for n in (250_000_000, 283_333_000, 316_667_000)
    ]
    assert shown(path) == [*range(30)]


def test_it_writes_the_message_that_foxglove_knows(tmp_path, session):
    chunk_of(session, encoded(tmp_path / "film.mp4", times=range(2)), T0_S + 0.25, 1 / 15)
    path, _ = write(tmp_path / "out", session)
    with path.open("rb") as file:
        schema = next(schema for schema, channel, _ in make_reader(file).iter_messages() if channel.topic == FRONT)
    content = json.loads(records(path, FRONT)[0].data)
    assert schema.name == "foxglove.CompressedVideo"
    assert content | {"data": ""} == {
        "timestamp": {"sec": T0_S, "nsec": 250_000_000},
        "frame_id": "front",
        "format": "h264",
        "data": "",
    }
    assert data_of(records(path, FRONT)[0]).startswith(START_CODE)


def test_it_repeats_the_parameter_sets_at_each_key_picture(tmp_path, session):
    chunk_of(session, encoded(tmp_path / "film.mp4", times=range(12), g="5", bf="0", sc_threshold="0"), T0_S, 0.4)
    path, _ = write(tmp_path / "out", session)
    kinds = [[unit[0] & 31 for unit in data_of(message).split(START_CODE)[1:]] for message in records(path, FRONT)]
    keys = [number for number, found in enumerate(kinds) if 5 in found]
    assert keys == [0, 5, 10]
    assert all({7, 8} <= set(kinds[number]) for number in keys)


def test_it_copies_packets_that_fit(tmp_path, session):
    film = encoded(tmp_path / "film.mp4", times=range(12), bf="0")
    chunk_of(session, film, T0_S, 0.4)
    path, _ = write(tmp_path / "out", session)
    with av.open(film) as source:
        last = [bytes(packet) for packet in source.demux(video=0) if packet.size][-1]
    assert data_of(records(path, FRONT)[-1]) == START_CODE + last[4:]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("b-frames.mp4", "libx264", {"bf": "2"}),
        ("opencv.mp4", "mpeg4", {}),
        ("film.avi", "mpeg4", {}),
    ],
)
def test_it_encodes_other_films_again(tmp_path, session, name, codec, options):
    chunk_of(session, encoded(tmp_path / name, codec=codec, times=range(20), **options), T0_S, 2 / 3)
    path, entry = write(tmp_path / "out", session)
    assert shown(path) == [*range(20)]
    assert verify(path.parent, manifest_of([entry], format="mcap")).pictures == 20


def test_it_puts_the_films_of_a_camera_behind_each_other(tmp_path, session):
    film = encoded(tmp_path / "film.mp4", times=range(15), bf="0")
    chunk_of(session, film, T0_S, 0.5)
    chunk_of(session, film, T0_S + 0.5, 0.5)
    path, entry = write(tmp_path / "out", session)
    assert shown(path) == [*range(15), *range(15)]
    assert verify(path.parent, manifest_of([entry], format="mcap")).pictures == 30


def test_it_keeps_the_times_of_a_film_of_variable_rate(tmp_path, session):
    film = encoded(tmp_path / "film.mp4", times=[0, 1, 3, 70, 71], bf="0")
    chunk_of(session, film, T0_S, 2.4, camera="wrist.left")
    path, entry = write(tmp_path / "out", session)
    found = [message.log_time for message in records(path, "/observation/images/wrist_left")]
    assert found == [T0_NS + by for by in (0, 33_333_000, 100_000_000, 2_333_333_000, 2_366_667_000)]
    assert verify(path.parent, manifest_of([entry], format="mcap")).pictures == 5


@pytest.fixture
def written(tmp_path, session) -> tuple[Path, SessionEntry]:
    """Return a file whose pictures are all key pictures, so that each can take the place of another."""
    chunk_of(session, encoded(tmp_path / "film.mp4", times=range(20), **KEYS_ONLY), T0_S, 2 / 3)
    return write(tmp_path / "out", session)


def shifted(found: list[Any]) -> list[Any]:
    """Show each picture one later."""
    return [with_data(message, data_of(found[max(0, n - 1)])) for n, message in enumerate(found)]


def replaced(number: int, change: Callable[[Any, list[Any]], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda found: [change(each, found) if n == number else each for n, each in enumerate(found)]


def moved(message: Any, by_ns: int) -> Any:
    time_ns = message.log_time + by_ns
    timestamp = {"sec": time_ns // 10**9, "nsec": time_ns % 10**9}
    return replace(with_content(message, timestamp=timestamp), log_time=time_ns, publish_time=time_ns)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (replaced(7, lambda each, found: with_data(each, data_of(found[6]))), "picture 7 shows the one before"),
        (shifted, "picture 19 shows the one before"),
        (lambda found: found[:-1], "the number of pictures is 19; 20 expected"),
        (lambda found: [*found, moved(found[-1], 1)], "the number of pictures is 21; 20 expected"),
        (replaced(7, lambda each, _: moved(each, 2000)), "picture 7 is at"),
        (replaced(7, lambda each, _: with_content(each, frame_id="wrist")), "picture 7: frame_id is 'wrist'"),
        (replaced(7, lambda each, _: with_content(each, format="h265")), "picture 7: format is 'h265'"),
        (replaced(7, lambda each, _: with_content(each, timestamp={"sec": 0, "nsec": 0})), "picture 7: timestamp is 0"),
        (replaced(7, lambda each, _: with_data(each, b"\x00\x00\x00\x02e")), "a start code of Annex B expected"),
        (
            replaced(7, lambda each, _: with_data(each, data_of(each)[data_of(each).index(b"\x00\x00\x01e") - 1 :])),
            "picture 7 is a key picture without SPS and PPS",
        ),
        (replaced(7, lambda each, found: with_data(each, data_of(each) + data_of(found[8]))), "picture 7"),
    ],
)
def test_it_finds_a_fault(written, change, expected):
    path, entry = written
    rewrite(path, FRONT, change)
    assert expected in findings(path.parent, entry)


def test_it_finds_no_fault_in_a_file_that_was_only_copied(written):
    path, entry = written
    rewrite(path)
    assert verify(path.parent, manifest_of([entry], format="mcap")).pictures == 20
