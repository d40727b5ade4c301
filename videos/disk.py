"""Write files so that a power failure does not lose them."""

import os
from collections.abc import Iterator
from pathlib import Path


def folders_of(path: Path, root: str | Path) -> Iterator[Path]:
    """Yield the file's folders from its own up to `root`.

    Another upload may have just made one of them, and not have synced its entry yet.
    """
    for folder in path.parents:
        yield folder
        if folder == Path(root):
            return


def make_folder(folder: Path) -> None:
    """Make the folder with its parents if they are missing, and sync the entries of those that are new."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    sync(*(each.parent for each in new))


def sync(*paths: Path) -> None:
    """Wait until the disk has the content of these files and the entries of these folders."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
