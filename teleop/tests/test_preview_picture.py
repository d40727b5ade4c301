"""A message of /ws/preview/ is a picture, or says why it is not; a picture is never decoded."""

import struct

import pytest

from teleop.ingest.preview_picture import InvalidPicture, Picture, read_picture
from tests.preview_socket import jpeg, message

BEGIN, QUANTIZATION, SCAN = b"\xff\xd8", b"\xff\xdb\0\x04ab", b"\xff\xda\0\x04abxyz\xff\xd9"


def frame_header(width: int = 160, height: int = 120, marker: int = 0xC0) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">HBHH", 8, 8, height, width) + b"\0"


@pytest.mark.parametrize("camera", ["front", "observation.images.wrist_2", "a", "x" * 100])
def test_it_reads_the_camera_the_time_and_the_picture(camera):
    assert read_picture(message(camera, captured_at=1703318400.5)) == Picture(camera, 1703318400.5, jpeg())


@pytest.mark.parametrize("size", [(1, 1), (320, 640), (320, 240)])
def test_it_takes_a_picture_of_an_allowed_size(size):
    picture = BEGIN + QUANTIZATION + frame_header(*size) + SCAN
    assert read_picture(message(picture=picture)).jpeg == picture


def test_it_takes_an_extended_sequential_picture():
    read_picture(message(picture=BEGIN + frame_header(marker=0xC1) + SCAN))


@pytest.mark.parametrize("camera", ["", "a b", "a/b", "..", ".a", "a.", "a..b", "é", "x" * 101, "a\n"])
def test_it_refuses_an_invalid_name(camera):
    with pytest.raises(InvalidPicture, match="the camera's name is"):
        read_picture(message(camera))


@pytest.mark.parametrize(
    "picture, reason",
    [
        (b"", "not a JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "not a JPEG"),
        (b"<!doctype html><script>alert(1)</script>", "not a JPEG"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 100, "not a JPEG"),
        (b"GIF89a" + jpeg(), "not a JPEG"),
        (jpeg()[:-1], "not a JPEG"),
        (jpeg() + b"<script>", "not a JPEG"),
        (b"\xff\xd8\xff\xd9", "no frame header"),
        (BEGIN + b"<svg>\xff\xd9", "not a JPEG"),
        (BEGIN + b"\xff<svg></svg>\xff\xd9", "no frame header"),
        (BEGIN + SCAN, "no frame header"),
        (BEGIN + b"\xff\xe0\xff\xff" + b"x" * 50 + b"\xff\xd9", "no frame header"),
        (BEGIN + QUANTIZATION * 65 + frame_header() + SCAN, "no frame header"),
        (BEGIN + b"\xff\xe0\0\0" * 20_000 + frame_header() + SCAN, "no frame header"),
        (BEGIN + frame_header()[:6] + b"\xff\xd9", "no frame header"),
        (BEGIN + frame_header(marker=0xC2) + SCAN, "progressive"),
        (BEGIN + frame_header(marker=0xC3) + SCAN, "lossless"),
        (BEGIN + frame_header(321) + SCAN, "321 x 120"),
        (BEGIN + frame_header(320, 641) + SCAN, "320 x 641"),
        (BEGIN + frame_header(65_535, 65_535) + SCAN, "65535 x 65535"),
        (BEGIN + frame_header(0, 120) + SCAN, "0 x 120"),
        (BEGIN + frame_header(160, 0) + SCAN, "160 x 0"),
    ],
)
def test_it_refuses_all_but_a_small_baseline_jpeg(picture, reason):
    with pytest.raises(InvalidPicture, match=reason):
        read_picture(message(picture=picture))


@pytest.mark.parametrize("data", [b"", "front", message().decode("latin1")])
def test_it_refuses_text_and_nothing(data):
    with pytest.raises(InvalidPicture, match="empty or text"):
        read_picture(data)


@pytest.mark.parametrize("captured_at", [float("nan"), float("inf"), float("-inf")])
def test_it_refuses_a_time_that_is_no_number(captured_at):
    with pytest.raises(InvalidPicture, match="the time of the capture is"):
        read_picture(message(captured_at=captured_at))


def test_it_refuses_every_message_that_was_cut():
    whole = message()
    for size in [*range(40), *range(40, len(whole), 7)]:
        with pytest.raises(InvalidPicture):
            read_picture(whole[:size])
