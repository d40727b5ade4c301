"""Names of cameras: `front` as uploaded and `observation.images.front` in a dataset are the same camera."""

import re

from datasets.options import Options
from videos.models import CAMERA_KEY, MAX_CAMERA_KEY

PREFIX = "observation.images."
NAME = re.compile(CAMERA_KEY)


def is_name(camera: str) -> bool:
    """Check that the camera could be uploaded by this name, which names a folder; it may be older than the rule."""
    return len(camera) <= MAX_CAMERA_KEY and bool(NAME.fullmatch(camera))


def key_of(camera: str) -> str:
    """Return the dataset's key of a camera as it was uploaded."""
    return PREFIX + camera.removeprefix(PREFIX)


def is_chosen(camera: str, options: Options) -> bool:
    """Check a camera against the options, which may name it with or without the prefix."""
    return options.cameras is None or key_of(camera) in map(key_of, options.cameras)
