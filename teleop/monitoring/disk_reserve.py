"""Space on the disks that uploads and background work leave, so that frames can be stored when nothing else can."""

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from django.conf import settings

CHECK_EVERY_BYTES = 8 * 2**20
MAX_RESERVE_BYTES = 2 * 2**30


def shortage(in_temp: int = 0, in_media: int = 0, media: Path | None = None) -> str | None:
    """Return an error text if that many more bytes would leave less than the reserve on a disk, else None.

    `in_temp` are bytes in the folder of temporary files, `in_media` in `media`, which is MEDIA_ROOT by default; both
    may be on one disk.
    """
    needed: Counter[int] = Counter()
    folders: dict[int, Path] = {}
    for folder, size in ((Path(tempfile.gettempdir()), in_temp), (media or media_folder(), in_media)):
        disk = os.stat(folder).st_dev
        needed[disk] += size
        folders[disk] = folder
    for disk, folder in folders.items():
        usage = shutil.disk_usage(folder)
        if usage.free - needed[disk] < (reserve := reserve_bytes(usage.total)):
            left = f"{usage.free} bytes free, of which {reserve} are reserved for frames (DISK_RESERVE_BYTES)"
            return f"the disk has {left}" + (f"; up to {needed[disk]} are needed" if needed[disk] else "")
    return None


def reserve_bytes(disk_bytes: int) -> int:
    if settings.DISK_RESERVE_BYTES is not None:
        return settings.DISK_RESERVE_BYTES
    return min(MAX_RESERVE_BYTES, disk_bytes // 20)


def media_folder() -> Path:
    root = Path(settings.MEDIA_ROOT).absolute()
    return next(folder for folder in (root, *root.parents) if folder.exists())  # the first upload creates MEDIA_ROOT
