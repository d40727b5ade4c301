"""Cut the pictures of an episode out of a film: packets are copied between key frames, the rest is encoded again.

Row k of an episode is at k / fps seconds, and so is its picture in the pieces, whatever the clock of the film.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from ..camera.film_file import FilmUnusable
from .dataset_types import FilmSpan

PIECE_S = 60  # at most, where the film has key frames
MOST_OFF = 0.25  # of the time between two rows. A picture that is farther off may belong to either row
PLAIN = {"movflags": "faststart", "fflags": "bitexact"}  # bitexact: two cuts have the same bytes
# x264 gives the same bytes again only for the same number of threads.
X264 = {"preset": "veryfast", "crf": "18", "bf": "0", "threads": "4"}


class Picture(NamedTuple):
    """The row that the picture of a packet belongs to, and whether the packet is a key frame."""

    row: int
    is_key: bool


@dataclass(frozen=True)
class Piece:
    """Rows of an episode whose pictures are in one file, as copied packets or encoded again."""

    first: int
    end: int
    is_copied: bool

    @property
    def length(self) -> int:
        return self.end - self.first


class PieceFile(NamedTuple):
    piece: Piece
    path: Path


def cut(span: FilmSpan, length: int, fps: int, folder: Path) -> Iterator[PieceFile]:
    """Write the film of an episode with so many rows into `folder`, piece by piece.

    The caller may delete each file before it takes the next one. Raise FilmUnusable, or OSError.
    """
    try:
        with Film(span, length, fps) as film:
            pictures = film.find_pictures()
            for piece in plan(pictures, length, PIECE_S * fps):
                if piece.is_copied:
                    yield film.copy(piece, pictures, folder)
                else:
                    yield from film.encode(piece, PIECE_S * fps, folder)
    except (av.FFmpegError, IndexError) as error:
        if isinstance(error, OSError):
            raise
        raise FilmUnusable(f"{span.path} cannot be read: {error}") from error


def plan(pictures: Iterable[Picture], length: int, most: int) -> list[Piece]:
    """Return the pieces of an episode. Copied ones have at most `most` rows if key frames allow it.

    `pictures` are in the order of the packets, from the key frame at or before row 0 until all rows have been seen.
    """
    cuts, seen, last = [], 0, -1
    for row, is_key in pictures:
        # The film can be cut at a key frame if all pictures before it in time are before it in the file too.
        if is_key and row == seen == last + 1 < length:
            cuts.append(row)
        if row >= 0:
            seen, last = seen + 1, max(last, row)
    needs_later_packets = last >= length
    pieces = [] if cuts[:1] == [0] else [Piece(0, (cuts or [length])[0], False)]
    for first, end in pairwise([*cuts, length]):
        if end == length and needs_later_packets:
            pieces.append(Piece(first, end, False))
        elif pieces and pieces[-1].is_copied and end - pieces[-1].first <= most:
            pieces[-1] = replace(pieces[-1], end=end)
        else:
            pieces.append(Piece(first, end, True))
    return pieces


class Film:
    """The open film of an episode, as a context manager."""

    def __init__(self, span: FilmSpan, length: int, fps: int) -> None:
        self._span, self._length, self._fps = span, length, fps
        # FFmpeg would follow a playlist to other files, whatever its name.
        self._container: InputContainer = av.open(str(span.path), format="mp4")
        self._stream: VideoStream = self._container.streams.video[0]

    def __enter__(self) -> "Film":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def find_pictures(self) -> list[Picture]:
        """Return the pictures of the episode, with those before and between them, in the order of the packets."""
        pictures, seen = [], set()
        for packet, row in self._packets(0):
            pictures.append(Picture(row, packet.is_keyframe))
            if 0 <= row < self._length:
                if row in seen:
                    raise FilmUnusable(f"{self._span.path} has two pictures for row {row} of the episode")
                seen.add(row)
                if len(seen) == self._length:
                    return pictures
        row = next(row for row in range(self._length) if row not in seen)
        raise FilmUnusable(f"{self._span.path} has no picture for row {row} of the episode, which has {self._length}")

    def copy(self, piece: Piece, pictures: Sequence[Picture], folder: Path) -> PieceFile:
        """Copy the packets of a piece."""
        rows = [row for row, _ in pictures if piece.first <= row < piece.end]
        delay = max(place - (row - piece.first) for place, row in enumerate(rows))
        path = folder / f"{piece.first}.mp4"
        with _create(path) as output:
            # `opaque`: there may be no encoder for it.
            stream = output.add_stream_from_template(self._stream, opaque=True)
            stream.time_base = time_base = Fraction(1, self._fps)
            copied = 0
            for packet, row in self._packets(piece.first):
                if piece.first <= row < piece.end:
                    packet.stream, packet.time_base, packet.duration = stream, time_base, 1
                    packet.pts, packet.dts = row - piece.first, copied - delay
                    output.mux(packet)
                    if (copied := copied + 1) == piece.length:
                        return PieceFile(piece, path)
        raise FilmUnusable(f"{self._span.path} has changed: only {copied} of {piece.length} pictures are left")

    def encode(self, piece: Piece, most: int, folder: Path) -> Iterator[PieceFile]:
        """Encode the pictures of a piece again, in files of at most `most` rows."""
        frames = self._frames(piece)
        for first in range(piece.first, piece.end, most):
            part = Piece(first, min(first + most, piece.end), False)
            path = folder / f"{first}.mp4"
            self._encode(part, frames, path)
            yield PieceFile(part, path)

    def _encode(self, piece: Piece, frames: Iterator[av.VideoFrame], path: Path) -> None:
        with _create(path) as output:
            stream = None
            for row, frame in enumerate(islice(frames, piece.length), piece.first):
                stream = stream or self._encoder(output, frame)
                frame.pts, frame.time_base = row - piece.first, Fraction(1, self._fps)
                frame.pict_type = av.video.frame.PictureType.NONE
                output.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
            if stream:
                output.mux(stream.encode())

    def _encoder(self, output: OutputContainer, frame: av.VideoFrame) -> VideoStream:
        stream = output.add_stream("libx264", rate=self._fps, options=X264)
        context, source = stream.codec_context, self._stream.codec_context
        context.width, context.height, context.gop_size = frame.width, frame.height, self._fps
        is_even = frame.width % 2 == 0 == frame.height % 2
        context.pix_fmt = "yuv420p" if is_even else "yuv444p"  # 4:2:0 needs even sizes
        for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
            setattr(context, name, getattr(source, name))
        return stream

    def _frames(self, piece: Piece) -> Iterator[av.VideoFrame]:
        """Decode the pictures of a piece."""
        due = piece.first
        self._seek(piece.first)
        for frame in self._container.decode(self._stream):
            if frame.pts is None or (row := self._row_of(frame.pts)) < piece.first:
                continue
            if row != due:
                break
            yield frame
            if (due := due + 1) == piece.end:
                return
        raise FilmUnusable(f"{self._span.path}: the picture for row {due} of the episode cannot be decoded")

    def _packets(self, row: int) -> Iterator[tuple["Packet[VideoStream]", int]]:
        """Yield the packets from the key frame at or before a row on, each with the row of its picture."""
        self._seek(row)
        for packet in self._container.demux(self._stream):
            if packet.pts is not None:
                yield packet, self._row_of(packet.pts)

    def _seek(self, row: int) -> None:
        """Go to the last key frame at or before a row. Its time may be rounded, so half a picture is added."""
        time_s = self._span.start_s + (row + 0.5) / self._fps
        self._container.seek(int(time_s / self._time_base), stream=self._stream)

    def _row_of(self, pts: int) -> int:
        place = (pts * self._time_base - self._span.start_s) * self._fps
        row = round(place)
        if abs(place - row) > MOST_OFF and -1 < place < self._length:
            off_ms = 1000 * (place - row) / self._fps
            raise FilmUnusable(
                f"{self._span.path} has a picture {off_ms:+.1f} ms off row {row} of the episode; "
                f"at most {1000 * MOST_OFF / self._fps:.1f} ms expected"
            )
        return row

    @property
    def _time_base(self) -> float:
        assert self._stream.time_base
        return float(self._stream.time_base)


def _create(path: Path) -> OutputContainer:
    return av.open(str(path), "w", format="mp4", container_options=PLAIN)
