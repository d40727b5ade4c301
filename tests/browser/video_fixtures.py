"""Videos in which every picture shows its number, machine-readable: twelve stripes, white for the bits set."""

import tempfile
from functools import cache
from pathlib import Path

from django.core.files import File

from teleop.models import TeleopSession
from videos.film.examine import examine
from videos.models import VideoChunk

FPS = 30
BITS, STRIPE_PX, HEIGHT_PX = 12, 16, 96

# The number on the screen; null without a picture. Films of tests/films have the stripes below their upper third.
READ = f"""camera => {{
  const video = document.querySelector(`[data-camera="${{camera}}"] video:not([hidden])`);
  if (!video || video.readyState < 2) return null;
  const canvas = new OffscreenCanvas({BITS * STRIPE_PX}, {HEIGHT_PX});
  const context = canvas.getContext("2d", {{ willReadFrequently: true }});
  context.drawImage(video, 0, 0, canvas.width, canvas.height);
  const row = context.getImageData(0, {HEIGHT_PX * 7 // 10}, canvas.width, 1).data;
  let number = 0;
  for (let bit = 0; bit < {BITS}; bit++) number = number * 2 + (row[(bit * {STRIPE_PX} + {STRIPE_PX // 2}) * 4] > 127);
  return number;
}}"""


@cache
def numbered_film(first: int, count: int) -> bytes:
    """Return an mp4 (H.264, as robots upload it) of `count` pictures with the numbers from `first` on."""
    import av
    import numpy

    file = tempfile.NamedTemporaryFile(suffix=".mp4")  # noqa: SIM115 - by its name, as the index moves by reading again
    with av.open(file.name, "w", options={"movflags": "faststart"}) as container:
        # A key picture every second, so that most seeks land between two.
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "g": str(FPS)})
        stream.width, stream.height, stream.pix_fmt = BITS * STRIPE_PX, HEIGHT_PX, "yuv420p"
        for number in range(first, first + count):
            bits = [255 * (number >> bit & 1) for bit in reversed(range(BITS))]
            picture = numpy.tile(numpy.repeat(bits, STRIPE_PX).astype("uint8"), (HEIGHT_PX, 1))
            frame = av.VideoFrame.from_ndarray(picture, format="gray8").reformat(format="yuv420p")
            frame.pts = number - first
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Path(file.name).read_bytes()


def upload(session: TeleopSession, first: int, count: int, camera="front") -> VideoChunk:
    """Upload the pictures from `first` on to the session: number n is seen n / FPS after its start."""
    begin = session.start_time.timestamp() + first / FPS
    chunk = VideoChunk(session=session, camera_key=camera, start_timestamp=begin, end_timestamp=begin + count / FPS)
    with tempfile.NamedTemporaryFile() as file:
        file.write(numbered_film(first, count))
        file.seek(0)
        chunk.describe(examine(file.name))
        return chunk.keep(File(file))[0]
