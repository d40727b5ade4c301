"""The data sets that real lerobot has written, and films of numbered pictures, for the tests of pushes."""

from fractions import Fraction
from pathlib import Path

import av
import numpy

DATA = Path(__file__).parent / "data"
V21_AV1, V3_AV1, V3_H264 = (DATA / f"lerobot-{name}" for name in ("v2.1-av1", "v3.0-av1", "v3.0-h264"))
LENGTHS, FPS = (90, 60, 75), 30
BLOCKS = 12


def number_of(picture):
    """Return the number that a picture shows in twelve blocks, as in the data sets' README."""
    row = picture.to_ndarray(format="gray8")[32]
    return sum(int(row[13 + 12 * block] > 140) << (BLOCKS - 1 - block) for block in range(BLOCKS))


def numbered(number, size=(160, 120)):
    """Return a grey image that shows a number."""
    image = numpy.full((size[1], size[0]), 60, numpy.uint8)
    for block in range(BLOCKS):
        image[20:44, 8 + 12 * block : 18 + 12 * block] = 255 * (number >> (BLOCKS - 1 - block) & 1)
    return image


def write_film(path, count=60, fps=FPS, size=(160, 120), pix_fmt="yuv420p", times=None, **options):
    """Write an H.264 film of numbered pictures; `times` are in periods of `fps`."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=fps, options={"preset": "ultrafast", **options})
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000 * fps)
        for number, time in enumerate(times or range(count)):
            frame = av.VideoFrame.from_ndarray(numbered(number, size), format="gray8")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000 * fps)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def shown(path):
    """Return the number of each picture of a film, and its time in seconds."""
    with av.open(str(path)) as film:
        return [(number_of(frame), frame.pts * frame.time_base) for frame in film.decode(video=0)]


def packet_bytes(path, first=0, end=None):
    """Return the data of a film's packets, by their time."""
    with av.open(str(path)) as film:
        packets = sorted((packet.pts, bytes(packet)) for packet in film.demux(video=0) if packet.size)
    return [data for _, data in packets][first:end]
