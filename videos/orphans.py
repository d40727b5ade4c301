"""Find the remains of a crash: files that no row names, and rows with a missing file."""

from collections.abc import Iterator
from datetime import datetime

from django.core.files.storage import Storage, default_storage

from videos import models, uploads


def files_without_row(before: datetime) -> Iterator[str]:
    """Yield files that no row names and that were last written before `before`.

    An upload that is in progress, or waits for its row, is no orphan.
    """
    for folder, files in _walk(default_storage, uploads.FOLDER, models.FOLDER):
        named = _named_by_rows(folder)
        for file in files:
            path = f"{folder}/{file}"
            if path not in named and default_storage.get_modified_time(path) < before:
                yield path


def rows_without_file() -> Iterator[models.VideoChunk]:
    for chunk in models.VideoChunk.objects.order_by("pk").iterator():
        if not chunk.storage.exists(chunk.file_path.name):
            yield chunk


def _walk(storage: Storage, *folders: str) -> Iterator[tuple[str, list[str]]]:
    for folder in folders:
        try:
            inside, files = storage.listdir(folder)
        except FileNotFoundError:
            continue
        yield folder, files
        yield from _walk(storage, *(f"{folder}/{name}" for name in inside))


def _named_by_rows(folder: str) -> set[str]:
    """Return the files that rows name in this folder, by session and camera: file_path has no index, these have one."""
    _, _, within = folder.partition(f"{models.FOLDER}/")
    session_id, _, camera_key = within.partition("/")
    if not session_id.isdecimal():
        return set()
    rows = models.VideoChunk.objects.filter(session_id=int(session_id), camera_key=camera_key)
    return set(rows.values_list("file_path", flat=True))
