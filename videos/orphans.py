"""Find the remains of a crash: files and exports' folders that no row names, and missing files of rows."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from django.apps import apps
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


def missing_files() -> Iterator[tuple[models.VideoChunk, str]]:
    """Yield the chunks with the names of their missing files: the film, its poster or its proxy."""
    for chunk in models.VideoChunk.objects.order_by("pk").iterator():
        for name, size in zip(chunk.file_names, (chunk.size, chunk.poster_size, chunk.proxy_size), strict=True):
            if size and not chunk.storage.exists(name):
                yield chunk, name


def folders_without_row(before: datetime) -> Iterator[Path]:
    """Yield folders of exports that were deleted, or whose work was interrupted, last changed before `before`."""
    yield from apps.get_model("datasets", "Export").objects.folders_without_row(before)


def exports_without_folder() -> Iterator[str]:
    """Yield the exports whose dataset is missing, for display to people."""
    for export in apps.get_model("datasets", "Export").objects.without_folder():
        yield f"export {export.pk} ({export.name})"


def _walk(storage: Storage, *folders: str) -> Iterator[tuple[str, list[str]]]:
    for folder in folders:
        try:
            inside, files = storage.listdir(folder)
        except FileNotFoundError:
            continue
        yield folder, files
        yield from _walk(storage, *(f"{folder}/{name}" for name in inside))


def _named_by_rows(folder: str) -> set[str]:
    """Return the files of the rows in this folder, by session and camera: file_path has no index, these have one."""
    _, _, within = folder.partition(f"{models.FOLDER}/")
    session_id, _, camera_key = within.partition("/")
    if not session_id.isdecimal():
        return set()
    chunks = models.VideoChunk.objects.filter(session_id=int(session_id), camera_key=camera_key).only("file_path")
    return {name for chunk in chunks for name in chunk.file_names}
