"""Films of tests/films and small ones, stored as chunks of a session."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from teleop.models import TeleopSession
from videos.film.examine import examine
from videos.models import VideoChunk


def chunk_of(
    session: TeleopSession, film: Path, start: float, seconds: float, camera="front", is_probed=True, **fields: Any
) -> VideoChunk:
    """Store the film as it is uploaded, and what a probe finds in it."""
    chunk = VideoChunk(
        session=session,
        robot_id=session.robot_id,
        camera_key=camera,
        start_timestamp=start,
        end_timestamp=start + seconds,
        **fields,
    )
    folder = Path(chunk.storage.location, "videos")
    folder.mkdir(parents=True, exist_ok=True)
    name = f"videos/{len(list(folder.iterdir()))}{film.suffix}"
    Path(chunk.storage.location, name).write_bytes(film.read_bytes())
    chunk.file_path = name
    chunk.size, chunk.sha256 = film.stat().st_size, sha256(film.read_bytes()).hexdigest()
    if is_probed:
        chunk.describe(examine(film))
    chunk.save(force_insert=True)
    return chunk


def grid_us(start: float, count: int, rate: float) -> Sequence[int]:
    """Return times in microseconds, 1/rate apart."""
    return [round(start * 1e6) + round(number * 1e6 / rate) for number in range(count)]
