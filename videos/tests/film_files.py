"""Films with numbered pictures: those of tests/films, and small ones of any codec."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import numpy

from tests.services import ROOT

FILMS = ROOT / "tests" / "films"
BITS, WIDTH, HEIGHT, RATE = 12, 192, 96, 30


def encoded(
    target: Path,
    codec="libx264",
    times: Sequence[int] = range(60),
    sound="",
    numbers: Iterable[int] | None = None,
    **options: str,
) -> Path:
    """Write small pictures with these numbers, from 0 by default, at these times (in 1/30 s), and sound by `sound`."""
    with av.open(target, "w") as output:
        video = output.add_stream(codec, rate=RATE, options=options)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = output.add_stream(sound, rate=48_000, layout="stereo") if sound else None
        for number, time in zip(numbers or count(), times, strict=False):
            bits = [255 * (number >> bit & 1) for bit in reversed(range(BITS))]
            row = numpy.repeat(bits, WIDTH // BITS).astype("uint8")
            picture = av.VideoFrame.from_ndarray(numpy.tile(row, (HEIGHT, 1)), format="gray").reformat(format="yuv420p")
            picture.pts, picture.time_base = time, Fraction(1, RATE)
            output.mux(video.encode(picture))
            if audio:
                output.mux(audio.encode(_second_30th_of_sound(time)))
        output.mux(video.encode())
        if audio:
            output.mux(audio.encode())
    return target


def _second_30th_of_sound(time: int) -> av.AudioFrame:
    """Return silence in the first second, and then a tone of 1 kHz."""
    samples = numpy.arange(time * 1600, (time + 1) * 1600)
    tone = (numpy.sin(samples * numpy.pi / 24) * 16_000 * (time >= RATE)).astype("int16")
    frame = av.AudioFrame.from_ndarray(numpy.repeat(tone, 2)[None], format="s16", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, time * 1600, Fraction(1, 48_000)
    return frame


def remuxed(name: str, target: Path, shift_s: float = 0) -> Path:
    """Copy the pictures of a film of tests/films into the container that the ending of `target` names."""
    options = {"output_ts_offset": str(shift_s)}
    with av.open(FILMS / name) as source, av.open(target, "w", options=options) as output:
        stream = source.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                output.mux(packet)
    return target


def pictures(path: Path) -> list[av.VideoFrame]:
    with av.open(path) as film:
        return list(film.decode(video=0))


def times(path: Path) -> list[Fraction]:
    return [picture.pts * picture.time_base for picture in pictures(path)]


def numbers(path: Path) -> list[int]:
    """Return the numbers that the pictures show."""
    return [number_of(picture) for picture in pictures(path)]


def number_of(picture: av.VideoFrame) -> int:
    row = _brightness(picture, picture.height * 2 // 3)
    bits = [row[int((bit + 0.5) * picture.width / BITS)] > 127 for bit in range(BITS)]
    return sum(1 << power for power, bit in enumerate(reversed(bits)) if bit)


def _brightness(picture: av.VideoFrame, line: int) -> Sequence[int]:
    """Return a line in shades of grey. Converting the whole picture takes 1 ms of CPU, and most have a plane of it."""
    if picture.format.name not in ("yuv420p", "yuv422p", "yuv444p"):
        return picture.to_ndarray(format="gray")[line]
    plane = picture.planes[0]
    return memoryview(plane)[line * plane.line_size :][: picture.width]
