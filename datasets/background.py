"""Background work on exports: make the dataset of each pending one.

A job can be killed at any moment and run again. The dataset appears in one step, by the rename of its folder, and the
row is updated after it: an attempt that finds the folder only has to update the row.
"""

import errno
import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import F, Max, Sum
from django.db.models.functions import Now

from datasets.models import Export
from datasets.querysets import FOLDER, KIND
from teleop.background.kinds import Kind, Postponed, Report, Unusable
from teleop.monitoring.disk_reserve import shortage
from videos.disk import make_folder
from videos.models import FOLDER as FILMS
from videos.models import VideoChunk

logger = logging.getLogger(__name__)

CHECK_S = 5
NOT_ENDED = {"finished_at": None, "expires_at": None}
REPORT = "export/report.json"  # in the folder of a dataset
MAX_REPORT_BYTES = 2**20
# Limits against endless work, ten times and more what the work takes. A session is in memory as a whole.
MEMORY_BYTES, MEMORY_A_FRAME, MEMORY_A_PIXEL = 2 * 2**30, 2**11, 500
CPU_S, CPU_S_A_FRAME, CPU_S_A_PICTURE, CPU_S_A_PIXEL = 120, 0.001, 0.05, 500e-9


class Deleted(Exception):
    """The export was deleted while it was made."""


def make(export: Export, report: Report) -> None:
    """Make the dataset and store that it is done; a refusal is stored too, as another attempt would end in the same."""
    from datasets.types import Refused  # here, as they load NumPy, Arrow and FFmpeg
    from datasets.verification import VerificationFailed

    _row_of(export).filter(state=Export.State.FAILED).update(state=Export.State.PENDING, error="", **NOT_ENDED)
    try:
        store(export, _built(export, report))
    except Deleted:
        logger.info("export %d was deleted while it was made", export.pk)
    except (Refused, VerificationFailed) as error:
        if problem := blocked() or _made_elsewhere(export):
            raise Postponed(problem) from None
        if isinstance(error, VerificationFailed):
            raise Unusable(f"the dataset differs from the recording: {error}") from None
        give_up(export, str(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Postponed(shortage() or f"the disk is full: {error.strerror}") from None
        raise
    if not _row_of(export).exists():
        export.delete_folders()


def _built(export: Export, report: Report) -> dict[str, Any]:
    """Return the report of the dataset, from an earlier attempt if that one was killed after it had made the folder."""
    if export.folder.exists():
        return stored_report(export.folder)
    from datasets.build import build
    from datasets.manifest import Manifest

    if problem := _remove_partial(export) or shortage(in_media=export.estimate.get("bytes", 0)):
        raise Postponed(problem)
    make_folder(export.folder.parent)
    try:
        return build(Manifest.from_json(export.manifest), export.folder, _reporting(export, report))
    except Exception as error:  # any library fails if a request deletes the export, and so the folder, meanwhile
        if not isinstance(error, Deleted) and not _row_of(export).exists():
            raise Deleted from error
        raise


def stored_report(folder: Path) -> dict[str, Any]:
    """Read the report of a dataset; of an export that is split, those of all its datasets."""
    if (whole := folder / REPORT).exists():
        return json.loads(whole.read_bytes())
    parts = sorted(folder.glob(f"*/{REPORT}"))
    return {"datasets": {part.relative_to(folder).parts[0]: json.loads(part.read_bytes()) for part in parts}}


def _made_elsewhere(export: Export) -> str | None:
    """Return that another process makes the export or has just made it, for which build() refuses it too.

    It happens if a process was frozen until its lease had ended, and goes on now. build() locks its folder.
    """
    if export.folder.exists():
        return f"another process has made export {export.pk}"
    try:
        descriptor = os.open(export.partial_folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return f"another process makes export {export.pk}"
    finally:
        os.close(descriptor)


def _remove_partial(export: Export) -> str | None:
    """Remove what an attempt that was killed has left; return that another process makes the export, if it does."""
    problem = _made_elsewhere(export)
    if not problem:
        shutil.rmtree(export.partial_folder, ignore_errors=True)
    return problem


def _reporting(export: Export, report: Report) -> Callable[[float], None]:
    """Pass the progress on, and raise Deleted soon after a request has deleted the export."""
    check_at = 0.0

    def report_and_check(progress: float) -> None:
        nonlocal check_at
        if time.monotonic() >= check_at:
            check_at = time.monotonic() + CHECK_S
            if not _row_of(export).exists():
                raise Deleted
            report(progress)

    return report_and_check


def store(export: Export, report: dict[str, Any]) -> None:
    """Store that the dataset is there."""
    _row_of(export).update(
        state=Export.State.DONE,
        error="",
        report=shortened(report),
        episodes=total(report, "episodes"),
        seconds=total(report, "seconds"),
        size_bytes=sum(file.stat().st_size for file in export.folder.rglob("*") if file.is_file()),
        **_ended(),
    )


def total(report: dict[str, Any], name: str) -> Any:
    """Return the total of a number of the report; an export that is split has a report for each dataset."""
    parts = report["datasets"].values() if "datasets" in report else [report]
    return sum(part.get(name) or 0 for part in parts)


def shortened(report: dict[str, Any]) -> dict[str, Any]:
    """Leave out the longest parts until the report fits into its row; export/report.json has all of it."""
    left, left_out = dict(report), []
    while len(json.dumps(left)) > MAX_REPORT_BYTES:
        longest = max(left, key=lambda name: len(json.dumps(left[name])))
        del left[longest]
        left_out.append(longest)
    return left | {"left_out": left_out} if left_out else left


def give_up(export: Export, reason: str) -> None:
    pending = _row_of(export).filter(state=Export.State.PENDING)
    pending.update(state=Export.State.FAILED, error=reason, **_ended())
    _remove_partial(export)


def _ended() -> dict[str, Any]:
    """Return the times of an export that ends now; it expires after EXPORT_DAYS."""
    days = settings.EXPORT_DAYS
    return {"finished_at": Now(), "expires_at": Now() + timedelta(days=days) if days else None}


def _row_of(export: Export):
    return Export.objects.filter(pk=export.pk)


def blocked() -> str | None:
    """Return why no export can be made now: MEDIA_ROOT is not mounted, or the disk is full."""
    for folder, rows in ((FILMS, VideoChunk.objects), (FOLDER, Export.objects.filter(state=Export.State.DONE))):
        if not Path(settings.MEDIA_ROOT, folder).is_dir() and rows.exists():
            return f"MEDIA_ROOT ({settings.MEDIA_ROOT}) has no folder {folder}; is its disk mounted?"
    return shortage()


def memory_bytes(export: Export) -> int:
    """Return the limit of memory: the longest session and the largest pictures are in memory at a time."""
    largest = _films(export).aggregate(pixels=Max(F("width") * F("height"), default=0))["pixels"] or 0
    frames = max((session["frame_count"] for session in export.manifest["sessions"]), default=0)
    return MEMORY_BYTES + MEMORY_A_FRAME * frames + MEMORY_A_PIXEL * largest


def cpu_s(export: Export) -> float:
    """Return the limit of processor time, if every picture has to be encoded again."""
    pictures = F("rate") * F("duration_s")
    found = _films(export).aggregate(pictures=Sum(pictures), pixels=Sum(pictures * F("width") * F("height")))
    frames = sum(session["frame_count"] for session in export.manifest["sessions"])
    of_films = CPU_S_A_PICTURE * (found["pictures"] or 0) + CPU_S_A_PIXEL * (found["pixels"] or 0)
    return CPU_S + CPU_S_A_FRAME * frames + of_films


def _films(export: Export):
    sessions = [session["session_id"] for session in export.manifest["sessions"]]
    return VideoChunk.objects.filter(session__in=sessions)


EXPORT = Kind(KIND, Export.objects.pending, make, give_up, memory_bytes, cpu_s, blocked)
