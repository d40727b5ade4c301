"""Send the dataset of an export as a tar, and its report as a page."""

import hashlib

from django.http import HttpResponse, HttpResponseBase
from rest_framework.exceptions import NotFound

from datasets.archive import Tar
from datasets.models import Export
from videos.content import FileGone, send

TAR = "application/x-tar"


def check_done(export: Export) -> None:
    """Raise NotFound while there is no dataset."""
    if export.state != Export.State.DONE:
        raise NotFound(f"export {export.pk} has no dataset; it is {export.shown_state}")


def respond(export: Export, request) -> HttpResponseBase:
    """Send the tar or a part of it; raises NotFound, and FileGone if the folder is missing."""
    check_done(export)
    try:
        tar = Tar(export.folder, export.name)
    except FileNotFoundError:
        raise _gone(export) from None
    response = send(request, _etag(export, tar), tar.size, TAR, lambda: tar)
    response["Content-Disposition"] = f'attachment; filename="{tar.name}"'
    response["Cache-Control"] = "private, no-cache"  # a cache may store it, and revalidates it by its ETag
    response["X-Accel-Buffering"] = "no"  # nginx would store up to 1 GB of it for a slow reader
    return response


def report_page(export: Export) -> HttpResponse:
    """Return the report as HTML, as it is in the dataset."""
    check_done(export)
    try:
        return HttpResponse((export.folder / "export" / "report.html").read_bytes())
    except FileNotFoundError:
        if export.options.get("split_by"):
            raise NotFound(f"export {export.pk} is split; each dataset in its tar has a report") from None
        raise _gone(export) from None


def _gone(export: Export) -> FileGone:
    return FileGone(f"the dataset of export {export.pk} is missing in the storage")


def _etag(export: Export, tar: Tar) -> str:
    """Return a hash of the names, the sizes and the time: the folder does not change after it was made."""
    of_folder = f"{export.pk} {export.finished_at} {tar.digest}"
    return f'"{hashlib.sha256(of_folder.encode()).hexdigest()}"'
