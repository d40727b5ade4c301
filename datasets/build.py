"""Make a dataset from a manifest: write it, verify it, and only then give the folder its name.

The folder is made beside the target as `<target>.partial`. A process that is killed leaves this folder, and the next
run begins anew: no half dataset is ever visible.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from datasets.formats.lerobot_info import INFO, INFO_NEW
from datasets.manifest import Manifest, check_unchanged, split
from datasets.report import make_report, write_report
from datasets.types import Refused
from datasets.verification import VerificationFailed, verify
from datasets.writing import write_lerobot, write_recordings
from teleop.monitoring.disk_reserve import shortage
from videos.disk import sync

Report = Callable[[float], None]
WRITING_SHARE = 0.6  # of the time; the rest is verification


def build(manifest: Manifest, target: Path, report: Report = lambda progress: None) -> dict[str, Any]:
    """Make the dataset, and return its report; raises Refused, VerificationFailed and OSError, and leaves nothing then.

    With `split_by` robot the target has a dataset for each robot in a folder of its own.
    """
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own pool keeps what it has freed
    target = target.resolve()  # `.` has no name, and a link to a folder cannot be replaced by one
    check_target(target)
    with _partial_folder(target) as partial:
        parts = split(manifest) if manifest.options.split_by else {"": manifest}
        reports = {}
        for number, (name, part) in enumerate(parts.items()):
            part_report = _share(report, number, len(parts))
            reports[name] = _build_one(part, partial / name, part_report)
        check_target(target)
        _sync_all(partial)
        os.replace(partial, target)
        sync(target.parent)
    return reports.get("", {"datasets": reports})


def _share(report: Report, number: int, count: int) -> Report:
    """Return a report of the progress of one of several parts."""
    return lambda done: report((number + done) / count)


def check_target(target: Path) -> None:
    """Raise Refused if the target is anything but an empty folder, or nothing yet."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise Refused(f"{target} is there already; a new or an empty folder expected")


def _build_one(manifest: Manifest, folder: Path, report: Report) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    is_lerobot = manifest.options.format.startswith("lerobot")
    write = write_lerobot if is_lerobot else write_recordings
    written = write(manifest, folder, lambda done: report(WRITING_SHARE * _with_room(done, folder)))
    manifest = replace(manifest, sessions=tuple(written.entries))
    try:
        verified = verify(folder, manifest, lambda done: report(WRITING_SHARE + (1 - WRITING_SHARE) * done))
    except VerificationFailed:
        for entry in manifest.sessions:
            check_unchanged(entry)  # raises Refused, which says what happened
        raise
    made = make_report(manifest, written, verified, folder)
    write_report(folder, manifest, made)
    if is_lerobot:
        os.replace(folder / INFO_NEW, folder / INFO)
    return made


def _with_room(done: float, folder: Path) -> float:
    """Return `done`, after a check of the disk: other recordings must not be lost for want of room."""
    if problem := shortage(media=folder):
        raise OSError(errno.ENOSPC, problem)
    return done


@contextmanager
def _partial_folder(target: Path) -> Iterator[Path]:
    """Hold the folder beside the target; one process at a time can. What an earlier process left in it is removed."""
    partial = target.with_name(f"{target.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        _lock(descriptor, partial)
        try:
            _remove_content(partial)
            yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    finally:
        os.close(descriptor)


def _lock(descriptor: int, partial: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # If another process has just finished, this is its folder, which has another name by now.
        if os.fstat(descriptor).st_ino == partial.stat().st_ino:
            return
    except (BlockingIOError, FileNotFoundError):
        pass
    raise Refused(f"another process is making {partial.with_suffix('')}, or has just made it")


def _remove_content(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _sync_all(folder: Path) -> None:
    """Wait until the disk has all files and their names, so that a power failure after the rename loses nothing."""
    for place, _, files in os.walk(folder):
        sync(*(Path(place, name) for name in files), Path(place))
