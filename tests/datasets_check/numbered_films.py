"""Films in which every picture shows its number as twelve stripes, in the encodings that robots upload.

read_dataset.py reads the stripes with LeRobot's own decoder. It cannot import this module: it has the numbers too.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

BITS, STRIPE_PX, HEIGHT_PX = 12, 16, 96


class Encoding(NamedTuple):
    codec: str
    options: dict[str, str]


COPIED = Encoding("libx264", {"preset": "ultrafast", "g": "30"})  # constant rate, no B-frames: packets can be copied
B_FRAMES = Encoding("libx264", {"preset": "fast", "bf": "2"})
MPEG4 = Encoding("mpeg4", {"qscale": "3"})


def film(first: int, count: int, fps: int, encoding: Encoding) -> bytes:
    """Return an mp4 of `count` pictures with the numbers from `first` on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "film.mp4")
        with av.open(str(path), "w") as container:
            stream = container.add_stream(encoding.codec, rate=fps, options=encoding.options)
            stream.width, stream.height, stream.pix_fmt = BITS * STRIPE_PX, HEIGHT_PX, "yuv420p"
            for number in range(first, first + count):
                frame = _picture(number)
                frame.pts = number - first
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


def _picture(number: int) -> av.VideoFrame:
    bits = [255 * (number >> bit & 1) for bit in reversed(range(BITS))]
    pixels = np.tile(np.repeat(bits, STRIPE_PX).astype("uint8"), (HEIGHT_PX, 1))
    return av.VideoFrame.from_ndarray(pixels, format="gray8").reformat(format="yuv420p")
