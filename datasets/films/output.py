"""A film of a dataset while it is written: an mp4 of constant rate without sound, edit list or time of day."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet

from datasets.films import h264

# The same packets give the same file: bitexact leaves out the library's version. The first picture is shown at 0, so
# an edit list would say nothing.
CONTAINER = {"movflags": "faststart", "fflags": "bitexact", "use_editlist": "0"}


class OutputFilm:
    """Appends packets in the order shown. Packet n is shown at n / fps.

    `template` is a stream of this size and codec, and `sets` is what a decoder has to know of all films and encoders
    whose packets may be appended.
    """

    def __init__(self, path: Path, number: int, fps: int, template: av.VideoStream, sets: frozenset[bytes]):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(path), "w", format="mp4", container_options=CONTAINER)
        self._stream = self._container.add_stream_from_template(template, opaque=True)
        # Pictures that are encoded again are as the film stores them. If players turn it, copies are not turned either.
        self._stream.set_display_rotation(0)
        if template.codec_context.codec.canonical_name == "h264":
            self._stream.codec_context.extradata = h264.make_avcc(sorted(sets))
        self.form = form_of(template)
        self.number, self.sets, self.rows, self.size_bytes = number, sets, 0, 0
        # With the template's unit, such as 1 ms in mkv, n / fps would be rounded.
        self._unit = self._stream.time_base = Fraction(1, fps)

    def append(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            packet.stream, packet.time_base = self._stream, self._unit
            packet.pts = packet.dts = self.rows
            packet.duration = 1
            self.rows += 1
            self.size_bytes += packet.size
            self._container.mux(packet)

    def close(self) -> None:
        self._container.close()


def form_of(stream: av.VideoStream) -> tuple[str, int, int]:
    """Return what the streams of all packets in a film have in common."""
    context = stream.codec_context
    return context.codec.canonical_name, context.width, context.height
