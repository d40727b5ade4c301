"""Films in which every picture shows its number as twelve stripes, in the encodings that robots upload.

read_dataset.py reads the stripes with LeRobot's own decoder. It cannot import this module: it has the numbers too.
"""

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

BITS, STRIPE_PX, HEIGHT_PX = 12, 16, 96
IRREGULAR_MS = (0, 9, -7, 22, -3)  # between the time of a picture and that at a constant rate


class Encoding(NamedTuple):
    codec: str
    options: dict[str, str]
    first_s: int = 0  # time of the first picture within the film
    is_irregular: bool = False  # each picture has a time of its own


COPIED = Encoding("libx264", {"preset": "ultrafast", "g": "30"})  # constant rate, no B-frames: packets can be copied
B_FRAMES = Encoding("libx264", {"preset": "fast", "bf": "2"})
MPEG4 = Encoding("mpeg4", {"qscale": "3"})
AV1 = Encoding("libsvtav1", {"preset": "8", "crf": "30", "g": "30"})
OFFSET_AV1 = AV1._replace(first_s=5)
IRREGULAR = COPIED._replace(is_irregular=True)


def film(first: int, count: int, fps: int, encoding: Encoding) -> bytes:
    """Return an mp4 of `count` pictures with the numbers from `first` on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "film.mp4")
        with av.open(str(path), "w") as container:
            stream = container.add_stream(encoding.codec, rate=fps, options=encoding.options)
            unit = 1000 if encoding.is_irregular else fps
            stream.codec_context.time_base = Fraction(1, unit)
            stream.width, stream.height, stream.pix_fmt = BITS * STRIPE_PX, HEIGHT_PX, "yuv420p"
            for number, offset_s in enumerate(offsets_s(count, fps, encoding.is_irregular), first):
                frame = _picture(number)
                frame.pts, frame.time_base = round((encoding.first_s + offset_s) * unit), Fraction(1, unit)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


def offsets_s(count: int, fps: int, is_irregular: bool) -> list[float]:
    """Return the times of pictures, in seconds after the first one."""
    if not is_irregular:
        return [number / fps for number in range(count)]
    return [(round(1000 * number / fps) + IRREGULAR_MS[number % 5]) / 1000 for number in range(count)]


def _picture(number: int) -> av.VideoFrame:
    bits = [255 * (number >> bit & 1) for bit in reversed(range(BITS))]
    pixels = np.tile(np.repeat(bits, STRIPE_PX).astype("uint8"), (HEIGHT_PX, 1))
    return av.VideoFrame.from_ndarray(pixels, format="gray8").reformat(format="yuv420p")
