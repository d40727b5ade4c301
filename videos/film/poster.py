"""Make the poster of a film: a small JPEG of the first picture."""

from fractions import Fraction
from pathlib import Path

import av

from videos.film.decoding import first_picture
from videos.film.scaling import Scaler

LONG_SIDE = 320
QUALITY = "5"  # 2 is the best, 31 the smallest


def write_poster(source: str | Path, target: str | Path) -> None:
    """Write the first picture that is shown as JPEG; raises NoVideo, MemoryError and OSError."""
    first, pixel_aspect = first_picture(source)
    picture = Scaler(first, pixel_aspect, LONG_SIDE, "yuvj420p").scale(first)
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, picture.format.name
    encoder.options = {"qmin": QUALITY, "qmax": QUALITY}
    encoder.time_base = picture.time_base = Fraction(1)
    picture.pts = 0
    packets = [*encoder.encode(picture), *encoder.encode(None)]
    Path(target).write_bytes(b"".join(map(bytes, packets)))
