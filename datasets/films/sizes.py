"""The size of a dataset's films. This module imports nothing of FFmpeg."""


def even(side: int) -> int:
    """Return the side of a film in pixels without the last one if it is odd: 4:2:0 has a colour for two pixels."""
    return side & ~1
