"""Make the parts of info.json that both versions of the format have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

FILES_PER_CHUNK = 1000
DATA_FILE_MB, VIDEO_FILE_MB = 100, 200  # as LeRobot's recorder
# The name of info.json until the dataset is verified: readers take a folder without info.json for no dataset.
INFO, INFO_NEW = "meta/info.json", "meta/info.json.new"


def splits(is_validation: Sequence[bool]) -> dict[str, str]:
    """Return the range of episodes of each split; raises ValueError if validation episodes are not the last."""
    total = len(is_validation)
    train = total - sum(is_validation)
    if any(is_validation[:train]):
        raise ValueError("a validation episode is before an episode of the train split")
    validation = {"validation": f"{train}:{total}"} if train < total else {}
    return {"train": f"0:{train}"} | validation


def video_info(path: Path, fps: int, depth_key: str) -> dict[str, Any]:
    """Return `info` of a camera's feature, read from its first film. Films of depth are never exported."""
    import av

    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        return {
            "video.height": stream.height,
            "video.width": stream.width,
            "video.codec": stream.codec.canonical_name,
            "video.pix_fmt": stream.pix_fmt,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
            depth_key: False,
        }
