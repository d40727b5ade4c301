"""Read the facts of a film from its packets. No picture is decoded: a header may list pictures that were cut off."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median_low
from typing import NamedTuple

from av.packet import Packet
from av.video.stream import VideoStream

from videos.film.containers import MAX_PICTURES, open_film
from videos.film.facts import Facts, NoVideo, is_playable

ROUNDING_S = 0.001  # of the times in webm, mkv and all that was made from them


class Pictures(NamedTuple):
    """Times of all shown pictures in the order in which they are shown, in units of `time_base` seconds."""

    times: list[int]
    last_duration: int  # 0: the file does not say
    time_base: Fraction


def examine(path: str | Path) -> Facts:
    """Return the facts; raises NoVideo, MemoryError and OSError."""
    with open_film(path) as (container, film, stream):
        pictures = read_pictures(stream, film.demux(stream))
        context = stream.codec_context
        duration_s, is_evenly_spaced = measure(pictures, stream.guessed_rate)
        return Facts(
            media_type=container.media_type,
            codec=stream.codec.canonical_name,
            pixel_format=context.pix_fmt,
            width=context.width,
            height=context.height,
            rate=len(pictures.times) / duration_s,
            # Chromium moves a film that begins before 0 so that it begins at 0, and leaves all others where they are.
            first_picture_s=max(0.0, float(pictures.times[0] * pictures.time_base)),
            duration_s=duration_s,
            is_evenly_spaced=is_evenly_spaced,
            has_audio=bool(film.streams.audio),
            playable=is_playable(container.media_type, stream.codec.canonical_name, context.pix_fmt),
        )


def read_pictures(stream: VideoStream, packets: Iterable[Packet]) -> Pictures:
    """Return the times of the pictures that a player shows; raises NoVideo.

    A player does not show what an edit list discards, nor what comes before the first key picture: after a cut that
    copies, there are pictures that refer to others before the cut.
    """
    found: list[tuple[int, int]] = []
    first_key = None
    for packet in packets:
        time = packet.dts if packet.pts is None else packet.pts  # AVI has the order of decoding only
        if time is None or not packet.size:  # the mark of the end, or a picture that AVI left out
            continue
        if packet.is_corrupt:
            raise NoVideo("it is cut off")
        if len(found) == MAX_PICTURES:
            raise NoVideo(f"it has more than {MAX_PICTURES} video frames, which is the most expected")
        if packet.is_keyframe and first_key is None:
            first_key = time
        if not packet.is_discard and not _is_hidden(stream, packet):
            found.append((time, packet.duration or 0))
    shown = sorted(each for each in found if first_key is None or each[0] >= first_key)
    if not shown:
        raise NoVideo("its video stream has no video frames")
    return Pictures([time for time, _ in shown], shown[-1][1], stream.time_base)


def _is_hidden(stream: VideoStream, packet: Packet) -> bool:
    """Check for a VP8 picture that others refer to and nobody sees."""
    return stream.codec.canonical_name == "vp8" and not memoryview(packet)[0] >> 4 & 1


def measure(pictures: Pictures, nominal_rate: Fraction | None) -> tuple[float, bool]:
    """Return the seconds from the first picture to the end of the last one, and whether all are equally spaced.

    They are if each begins within a rounding error of its place on a grid: a unit of the time base or a millisecond,
    whichever is more, and at most half of the spacing. The last one is not declared to last longer than the others.
    Times of a clock (phones, ROS) vary more than that, or have holes.

    Writers declare the last picture too short or not at all. It lasts at least as long as the median picture.
    """
    times, declared, time_base = pictures
    if len(times) == 1:
        return float(declared * time_base) or float(1 / (nominal_rate or 25)), True
    span = times[-1] - times[0]
    spacing = span / (len(times) - 1)
    tolerance = 1.001 * min(max(1.0, ROUNDING_S / float(time_base)), spacing / 2)
    is_evenly_spaced = declared <= spacing + tolerance and all(
        abs(time - (times[0] + index * spacing)) <= tolerance for index, time in enumerate(times)
    )
    if is_evenly_spaced:
        last: float = spacing
    else:
        last = max(declared, median_low(after - before for before, after in pairwise(times)))
    return float((span + last) * time_base), is_evenly_spaced
