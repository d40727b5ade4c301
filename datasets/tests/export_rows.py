"""Exports for the tests of REST and of the background work, with a stand-in for the program that makes datasets."""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from datasets.models import Export
from teleop.models import TeleopSession
from teleop.tests.recordings import T0, make_session

REPORT = {"episodes": 2, "seconds": 10.5, "files": ["meta/info.json"]}
ESTIMATE = {"sessions": 1, "episodes": 1, "hours": 0.003, "frames": 600, "bytes": 27_000}
FILES = {
    "meta/info.json": b"{}",
    "data/file-000.parquet": b"PAR1" * 500,
    "export/report.json": json.dumps(REPORT).encode(),
}
FILES["export/report.html"] = b"<h1>towels</h1>"


def recorded(key: str, frames: int = 600, **meta: Any) -> TeleopSession:
    """Return a session that can be exported; its frames are not stored, only their number."""
    session = make_session(key=key)
    fields = {"end_time": T0 + timedelta(seconds=frames / 60), "frame_count": frames, "meta_info": meta}
    TeleopSession.objects.filter(pk=session.pk).update(**fields)
    return session


def created(name: str = "towels", **fields: Any) -> Export:
    """Return an export whose manifest has one session."""
    manifest = {"sessions": [{"session_id": 999_999, "frame_count": 600}]}
    values = {"name": name, "format": "lerobot-v3.0", "manifest": manifest, "estimate": ESTIMATE}
    return Export.objects.create(**values | fields)


def write(folder: Path) -> None:
    for name, content in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def done(name: str = "towels", **fields: Any) -> Export:
    """Return an export with its dataset."""
    values = {"state": "done", "report": REPORT, "size_bytes": 3000, "finished_at": T0}
    export = created(name, **values | fields)
    write(export.folder)
    return export


def builds(does: Callable[[Path], None] = lambda partial: None) -> Callable[..., dict[str, Any]]:
    """Return a stand-in for build(): it writes FILES into the partial folder, then calls `does`, and renames it.

    If `does` raises, it leaves nothing, as build() does.
    """

    def build(manifest: Any, target: Path, report: Callable[[float], None]) -> dict[str, Any]:
        partial = target.with_name(f"{target.name}.partial")
        write(partial)
        try:
            report(0.5)
            does(partial)
        except Exception:  # of `does`, which raises what its test wants
            shutil.rmtree(partial)
            raise
        partial.rename(target)
        return REPORT

    return build
