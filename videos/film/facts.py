"""What a probe finds in a film. This module imports nothing of FFmpeg, as servers import it."""

from typing import NamedTuple

PLAYABLE_CODECS = {
    "video/mp4": ("h264", "vp9", "av1"),
    "video/quicktime": ("h264", "vp9", "av1"),
    "video/webm": ("vp8", "vp9", "av1"),
}
EIGHT_BITS = ("yuv420p", "yuvj420p", "yuva420p")
PLAYABLE_PIXELS = {
    "h264": ("yuv420p", "yuvj420p"),
    "vp8": EIGHT_BITS,
    "vp9": (*EIGHT_BITS, "yuv420p10le"),
    "av1": (*EIGHT_BITS, "yuv420p10le", "gray", "gray10le"),
}


class NoVideo(Exception):
    """The file is not a usable video; the message gives the reason, and begins with "it"."""


class Facts(NamedTuple):
    """What is known of a film without decoding it."""

    media_type: str
    codec: str  # as FFmpeg names it
    pixel_format: str  # as FFmpeg names it
    width: int
    height: int
    rate: float  # pictures a second, on average
    first_picture_s: float  # media time of the first picture that is shown, as Chromium counts it
    duration_s: float  # from the first picture to the end of the last one
    is_evenly_spaced: bool
    has_audio: bool
    playable: bool  # every present browser plays it

    @property
    def has_preview(self) -> bool:
        """Return False for depth: grey with more than 8 bits has no colours that a person could see."""
        return not self.pixel_format.startswith("gray") or self.pixel_format == "gray"


def is_playable(media_type: str, codec: str, pixel_format: str) -> bool:
    return codec in PLAYABLE_CODECS.get(media_type, ()) and pixel_format in PLAYABLE_PIXELS[codec]
