"""Make the proxy of a film that browsers do not play: a small H.264 version with frequent key pictures."""

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from videos.film.containers import AVI, open_film
from videos.film.decoding import decode, first_picture
from videos.film.examine import Pictures, measure, read_pictures
from videos.film.scaling import Scaler

LONG_SIDE = 640
KEY_S = 0.5  # a seek decodes at most this much
# zerolatency: no picture refers to a later one, and none waits in memory.
X264 = {"preset": "superfast", "tune": "zerolatency", "crf": "26", "forced-idr": "1", "sc_threshold": "0", "g": "9999"}
SHORTEST_UNIT = Fraction(1, 1_000_000)  # mp4 has 32 bits for the units of one picture
RGB = 0  # the scaler makes YUV of it
AUDIO_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


def write_proxy(source: str | Path, target: str | Path, report: Callable[[float], None]) -> None:
    """Write an mp4 whose pictures have the same times, less that of the first; raises NoVideo, MemoryError, OSError.

    What cannot be decoded is left out. Sound becomes AAC, mono or stereo. `report` gets the progress, 0 to 1.
    """
    with open_film(source) as (_, film, stream):
        pictures = read_pictures(stream, film.demux(stream))
    first, pixel_aspect = first_picture(source)
    scaler = Scaler(first, pixel_aspect, LONG_SIDE, "yuv420p")
    with (
        open_film(source) as (container, film, stream),
        av.open(str(target), "w", format="mp4", container_options={"movflags": "faststart"}) as output,
    ):
        video = VideoTrack(output, stream, pictures, scaler, is_in_order=container is AVI)
        sounds = [each for each in film.streams.audio if each.codec_context and each.codec_context.sample_rate][:1]
        audio = [AudioTrack(output, each, video.begin_s) for each in sounds]  # one or none
        for packet in film.demux(stream, *sounds):
            for frame in decode(packet):
                if isinstance(frame, av.AudioFrame):
                    audio[0].write(frame)
                elif video.write(frame):
                    report(video.progress)
        for track in (video, *audio):
            track.end()


class VideoTrack:
    """The pictures of the proxy. The first one is at 0, even if others before it could not be decoded."""

    def __init__(
        self, output: OutputContainer, stream: VideoStream, pictures: Pictures, scaler: Scaler, is_in_order: bool
    ):
        times, _, time_base = pictures
        self._output, self._scaler = output, scaler
        self._unit = max(time_base, SHORTEST_UNIT)
        self._begin, self._end, self._units = times[0], times[-1], time_base / self._unit
        # AVI has the order of decoding; FFmpeg guesses from it, and errs with some B-pictures.
        self._times = iter(times) if is_in_order else None
        self._last = self._last_key = -1
        self.begin_s = times[0] * time_base
        duration_s, _ = measure(pictures, stream.guessed_rate)
        self._last_duration = round((duration_s - (times[-1] - times[0]) * time_base) / self._unit)
        self._track = output.add_stream("libx264", rate=stream.guessed_rate or 25, options=X264)
        context = self._track.codec_context
        context.width, context.height, context.pix_fmt = scaler.width, scaler.height, scaler.pixel_format
        context.time_base, context.thread_count = self._unit, 1
        if stream.codec_context.colorspace != RGB:
            for name in ("color_primaries", "color_trc", "colorspace"):
                setattr(context, name, getattr(stream.codec_context, name))

    @property
    def progress(self) -> float:
        return float(self._last / max(1, (self._end - self._begin) * self._units))

    def write(self, frame: av.VideoFrame) -> bool:
        """Encode the picture; return whether it is a key picture."""
        found = next(self._times, self._begin) if self._times else frame.pts
        time = round((found - self._begin) * self._units)
        if time <= self._last:  # before the first picture, or a time that comes twice
            return False
        picture = self._scaler.scale(frame)
        picture.time_base, picture.pts = self._unit, 0 if self._last < 0 else time
        is_key = self._last_key < 0 or (time - self._last_key) * self._unit >= KEY_S
        picture.pict_type = PictureType.I if is_key else PictureType.NONE
        self._last, self._last_key = time, time if is_key else self._last_key
        self._mux(picture)
        return is_key

    def end(self) -> None:
        self._mux(None)

    def _mux(self, picture: av.VideoFrame | None) -> None:
        for packet in self._track.encode(picture):
            packet.duration = self._last_duration  # counts for the last one; the others end where the next one begins
            self._output.mux(packet)


class AudioTrack:
    """The sound of the proxy from the first picture on."""

    def __init__(self, output: OutputContainer, stream: AudioStream, begin_s: Fraction):
        context = stream.codec_context
        rate = context.sample_rate if context.sample_rate in AUDIO_RATES else AUDIO_RATES[0]
        self._output = output
        self._track = output.add_stream("aac", rate=rate, layout="stereo" if context.layout.nb_channels > 1 else "mono")
        self._begin = round(begin_s / stream.time_base)

    def write(self, frame: av.AudioFrame) -> None:
        if frame.pts is not None and frame.pts >= self._begin:
            frame.pts -= self._begin
            with suppress(ValueError):  # PyAV's resampler takes no other format than that of the first frame
                self._output.mux(self._track.encode(frame))

    def end(self) -> None:
        self._output.mux(self._track.encode(None))
