"""What the database has, in a form that LeRobot's process can read: it has another Python, and no Django."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from teleop.models import TeleopFrame, TeleopSession
from tests.datasets_check.numbered_films import offsets_s
from videos.models import VideoChunk


def write(folder: Path, sessions: list[int], **expected: Any) -> Path:
    """Write the frames, the times of all pictures and `expected`; return the file. No code of `datasets` is used."""
    arrays, rows = {}, {}
    for session in TeleopSession.objects.filter(pk__in=sessions):
        frames = list(TeleopFrame.objects.filter(session=session).order_by("frame_index"))
        arrays[f"{session.pk}/times"] = np.array([_us(frame.timestamp.timestamp()) for frame in frames])
        for column, values in _columns([frame.data for frame in frames]).items():
            arrays[f"{session.pk}/{column}"] = np.array(values)
        for camera, times in _pictures(session).items():
            arrays[f"{session.pk}/pictures/{camera}"] = np.array(times)
        rows[session.pk] = {"robot": session.robot_id, "fps": session.fps, **session.labels}
    path = folder / "truth.npz"
    np.savez(path, **arrays)
    path.with_suffix(".json").write_text(json.dumps({"sessions": rows, **expected}))
    return path


def _columns(frames: list[dict[str, Any]]) -> dict[str, list[Any]]:
    flat = [_flat(frame) for frame in frames]
    return {column: [frame[column] for frame in flat] for column in flat[0]}


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict | list):
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {
        name: leaf for key, part in items for name, leaf in _flat(part, f"{path}.{key}" if path else str(key)).items()
    }


def _pictures(session: TeleopSession) -> dict[str, list[list[int]]]:
    """Return time and number of each picture by camera; numbered_films.py has the times."""
    found: dict[str, list[list[int]]] = {}
    begin_s = min(frame.timestamp.timestamp() for frame in TeleopFrame.objects.filter(session=session)[:1])
    for chunk in VideoChunk.objects.filter(session=session).order_by("start_timestamp"):
        fps = round(chunk.rate)
        first = round((chunk.start_timestamp - begin_s) * fps)
        count = round((chunk.end_timestamp - chunk.start_timestamp) * fps)
        offsets = offsets_s(count, fps, is_irregular=not chunk.is_evenly_spaced)
        found.setdefault(chunk.camera_key, []).extend(
            [_us(chunk.start_timestamp + offset_s), number] for number, offset_s in enumerate(offsets, first)
        )
    return found


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
