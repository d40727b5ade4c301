"""Names of cameras: `front` as uploaded and `observation.images.front` in a dataset are the same camera."""

from datasets.options import Options

PREFIX = "observation.images."


def key_of(camera: str) -> str:
    """Return the dataset's key of a camera as it was uploaded."""
    return PREFIX + camera.removeprefix(PREFIX)


def is_chosen(camera: str, options: Options) -> bool:
    """Check a camera against the options, which may name it with or without the prefix."""
    return options.cameras is None or key_of(camera) in map(key_of, options.cameras)
