"""Encode pictures into a film on disk, which a kill shortens by a second at most; repack it for uploading.

This module needs PyAV (`av`), which brings FFmpeg's libraries.
"""

import contextlib
import os
from collections.abc import Iterable
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel
from av.packet import Packet
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from .film_file import PART, FilmUnusable, complete_bytes, keep, private, write_about

SOFTWARE = "libx264"
TICKS = 90_000  # a second of the film's clock
KEY_S = 1.0  # between key frames, at most
FRAGMENT_S = 0.5  # kept in memory: a kill loses it
DEFAULT_FPS = 30
LARGE_PIXELS = 1920 * 1088  # more of them than this are encoded by several threads
_THREADS_LARGE = 4
_BITS_PER_PIXEL = 0.1  # of encoders other than libx264, which have no constant quality in common
_FRAGMENTED = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof+skip_trailer",
    "frag_duration": str(int(FRAGMENT_S * 1e6)),
    "flush_packets": "1",
}
_PLAIN = {"movflags": "faststart", "fflags": "bitexact"}  # bitexact: two repacks have the same bytes
_BT709 = 1
_REFORMATS_IN_THREADS = int(av.__version__.partition(".")[0]) >= 17  # by default in as many as there are cores


class EncoderFailed(Exception):
    """The encoder could not be opened, or did not take a picture."""


class _PartFile:
    """The file that PyAV writes to. After an error it takes nothing more, so that the end of it is known."""

    def __init__(self, path: Path) -> None:
        self._file = FileIO(path, "xb", opener=private)
        self.size = 0
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error:
            raise self.error
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.error = error
            raise
        self.size += len(data)
        return len(data)

    def close_file(self) -> None:  # PyAV would call `close`
        self._file.close()


class Chunk:
    """A film that is being written: `<path>.part.mp4`, beside `<path>.json`, which says what it is.

    Raise EncoderFailed, or OSError if the disk does not take it. After an error of `add` the chunk must be finished.
    """

    def __init__(
        self,
        path: Path,
        about: dict[str, Any],
        start_s: float,
        size: tuple[int, int],
        *,
        fps: float | None = None,
        encoder: str = SOFTWARE,
        crf: int = 23,
    ) -> None:
        """Begin the film of pictures of this size (width, height); the first is of the time `start_s`."""
        self.start_s, self.size = start_s, size
        self.path, self.about_path = path.with_suffix(".mp4"), path.with_suffix(".json")
        self._part = path.with_suffix(PART)
        self.pictures = 0  # given to the encoder
        self._fps = fps or DEFAULT_FPS
        self._last_pts = self._key_pts = -1
        self._held: Packet[av.VideoStream] | None = None  # its duration is known with the next one
        self._duration = round(TICKS / self._fps)
        self._muxed = self._kept = 0
        self._reformatter = VideoReformatter()
        self._threads = 1 if size[0] * size[1] <= LARGE_PIXELS else _THREADS_LARGE
        self._reformat_options = {"threads": self._threads} if _REFORMATS_IN_THREADS else {}
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = _PartFile(self._part)
        try:
            self._container, self._stream = self._open(encoder, crf)
            about = about | {"fps": fps, "width": size[0], "height": size[1], "codec": "h264", "encoder": encoder}
            write_about(self.about_path, about)
        except BaseException:
            self._file.close_file()
            self._part.unlink(missing_ok=True)
            raise

    def _open(self, name: str, crf: int) -> tuple[av.container.OutputContainer, av.VideoStream]:
        width, height = self.size
        options, bit_rate = {}, round(width * height * self._fps * _BITS_PER_PIXEL)
        hardware = {"hwaccel": HWAccel("vaapi")} if name.endswith("_vaapi") else {}
        if name == SOFTWARE:
            options = {"preset": "ultrafast", "tune": "zerolatency", "crf": str(crf), "forced-idr": "1"}
            bit_rate = 0
        try:
            container = av.open(self._file, "w", format="mp4", container_options=_FRAGMENTED)
            stream = container.add_stream(
                name,
                rate=Fraction(self._fps).limit_denominator(1000),
                options=options,
                **hardware,
                width=width,
                height=height,
                bit_rate=bit_rate,
                time_base=Fraction(1, TICKS),
            )
            if not isinstance(stream, av.VideoStream):
                raise TypeError("it is no encoder of videos")
            context = stream.codec_context
            context.gop_size, context.max_b_frames = max(round(self._fps), 1), 0
            context.thread_count = self._threads
            context.color_range = ColorRange.MPEG
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.open()
        except Exception as error:  # PyAV's errors have many classes
            raise EncoderFailed(f"the encoder {name} cannot be opened: {error}") from error
        return container, stream

    def add(self, array: Any, pixel_format: str, time_s: float) -> bool:
        """Encode a picture of this time. Return False if that is not later than the last one's."""
        pts = round((time_s - self.start_s) * TICKS)
        if pts <= self._last_pts:
            return False
        try:
            packets = self._stream.encode(self._frame(array, pixel_format, pts))
        except Exception as error:  # PyAV's errors have many classes
            raise EncoderFailed(f"the encoder {self._stream.name} failed: {error}") from error
        self._last_pts, self.pictures = pts, self.pictures + 1
        self._mux(packets)
        return True

    def _frame(self, array: Any, pixel_format: str, pts: int) -> av.VideoFrame:
        picture = av.VideoFrame.from_numpy_buffer(array, pixel_format)
        frame = self._reformatter.reformat(
            picture,
            format="yuv420p",
            interpolation=Interpolation.BILINEAR,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            **self._reformat_options,
        )
        frame.pts, frame.time_base = pts, Fraction(1, TICKS)
        frame.pict_type = PictureType.I if pts - self._key_pts >= KEY_S * TICKS else PictureType.NONE
        return frame

    def _mux(self, packets: "Iterable[Packet[av.VideoStream]]") -> None:
        for packet in packets:
            assert packet.pts is not None
            if packet.is_keyframe:
                self._key_pts = packet.pts
            if self._held is not None:
                assert self._held.pts is not None
                self._write_held(packet.pts - self._held.pts)
            self._held = packet

    def _write_held(self, duration: int) -> None:
        if self._held is None:
            return
        packet, self._held, self._duration = self._held, None, duration
        packet.duration = duration
        size = self._file.size
        self._container.mux(packet)
        self._muxed += 1
        if self._file.size > size:  # a fragment was written: all packets before this one
            self._kept = self._muxed - 1

    @property
    def last_s(self) -> float:
        """Return the time of the last picture."""
        return self.start_s + self._last_pts / TICKS

    def finish(self, end_s: float | None = None) -> int:
        """Complete the film and rename it to `<path>.mp4`; return how many of its pictures are on disk.

        `end_s` is the time at which the next picture took over, if there is one. Raise OSError.
        """
        # PyAV's errors have many classes. Whichever it is, the fragments that are on disk are kept.
        with contextlib.suppress(Exception):
            self._mux(self._stream.encode())
        try:
            self._write_held(self._last_duration(end_s))
            self._container.close()
        except Exception:  # as above
            self._file.error = self._file.error or OSError("the film could not be closed")
        self._file.close_file()
        if self._file.error is None:
            self._kept = self._muxed
        return self._kept if keep(self._part) else 0

    def _last_duration(self, end_s: float | None) -> int:
        if end_s is None:
            return min(self._duration, TICKS)
        return max(round((end_s - self.start_s) * TICKS) - self._last_pts, 1)


def repack(source: Path, target: Path) -> float:
    """Write the film as a plain mp4, whose index is at its beginning; return its length in seconds.

    Raise OSError, or FilmUnusable.
    """
    if not (complete := complete_bytes(source)):
        raise FilmUnusable("the film has no whole fragment")
    os.truncate(source, complete)  # the power may have failed before all of it was on the disk
    end = Fraction(0)
    try:
        with av.open(str(source)) as film, av.open(str(target), "w", format="mp4", container_options=_PLAIN) as copy:
            stream = copy.add_stream_from_template(film.streams.video[0])
            for packet in film.demux(film.streams.video[0]):
                if packet.pts is not None and packet.duration:
                    end = max(end, (packet.pts + packet.duration) * packet.time_base)
                    packet.stream = stream
                    copy.mux(packet)
    except av.FFmpegError as error:
        raise OSError(str(error)) if isinstance(error, OSError) else FilmUnusable(str(error)) from error
    except IndexError as error:
        raise FilmUnusable("the file has no video") from error
    return float(end)
