"""Encode a picture as a small JPEG, by PyAV."""

from fractions import Fraction
from typing import Any

import av
from av.video.codeccontext import VideoCodecContext

from . import film_image

WIDTH, MOST_HEIGHT = 320, 640
QUALITY = 6  # FFmpeg's scale, from 2 (best) to 31


def jpeg(image: Any, formats: dict[int, str]) -> bytes:
    """Return a baseline JPEG of an image, at most 320 pixels wide. Raises ImageInvalid, or an error of PyAV."""
    array = film_image.pixels(image)
    step = max(array.shape[1] // (2 * WIDTH), 1)  # FFmpeg would take a quarter of a second to shrink a 4K picture
    array = array[::step, ::step].copy()
    colours = array.shape[2] if array.ndim == 3 else 1
    frame = av.VideoFrame.from_ndarray(array[:, :, 0] if array.ndim == 3 and colours == 1 else array, formats[colours])
    scale = min(1.0, WIDTH / frame.width, MOST_HEIGHT / frame.height)
    width, height = (max(int(side * scale) // 2 * 2, 2) for side in (frame.width, frame.height))
    frame = frame.reformat(width, height, "yuvj420p")
    encoder = VideoCodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.framerate = Fraction(1)
    encoder.qmin = encoder.qmax = QUALITY
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
