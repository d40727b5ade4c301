"""Decode films of which parts may be broken."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from videos.film.containers import open_film
from videos.film.facts import NoVideo


def decode(packet: av.Packet) -> list[Any]:
    """Return the pictures or the sound of the packet; nothing if it is broken."""
    try:
        return packet.decode()
    except (OSError, MemoryError):
        raise
    except av.FFmpegError:
        return []


def first_picture(path: str | Path) -> tuple[av.VideoFrame, Fraction | None]:
    """Return the first picture that is shown, and the width of a pixel in heights; raises NoVideo and OSError."""
    with open_film(path) as (_, film, stream):
        for packet in film.demux(stream):
            for picture in decode(packet):
                return picture, stream.sample_aspect_ratio
        raise NoVideo("none of its pictures can be decoded")
