"""Receive an upload into a temporary file, and check the disk space before the file is kept."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from rest_framework.exceptions import APIException

from teleop.monitoring.disk_reserve import CHECK_EVERY_BYTES, shortage
from videos.disk import make_folder

FOLDER = "uploads"  # in MEDIA_ROOT: an upload is kept by a rename, and clean_media finds the remains of a crash


class DiskFull(APIException):
    status_code = 507
    default_code = "disk_full"


def check_room(size: int = 0) -> None:
    """Refuse an upload if its file would use disk space that is reserved for frames."""
    if detail := shortage(in_media=size):
        raise DiskFull(detail)


@contextmanager
def refused_if_disk_is_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"the disk is full: {error.strerror}") from None
        raise


class IncomingFile(TemporaryUploadedFile):
    """Temporary file with a fixed suffix: Django's has the client's, and no file system accepts one of 300 letters."""

    def __init__(self, name, content_type, size, charset, content_type_extra=None):
        folder = Path(settings.MEDIA_ROOT, FOLDER)
        make_folder(folder)
        file = tempfile.NamedTemporaryFile(suffix=".upload", dir=folder)  # noqa: SIM115 - closed with the request
        UploadedFile.__init__(self, file, name, content_type, size, charset, content_type_extra)


class UploadHandler(TemporaryFileUploadHandler):
    """Upload handler that writes every size to disk: Django keeps up to 2.5 MB in memory."""

    _bytes_until_check = CHECK_EVERY_BYTES

    def new_file(self, *args, **kwargs):
        super(TemporaryFileUploadHandler, self).new_file(*args, **kwargs)
        self.file = IncomingFile(self.file_name, self.content_type, 0, self.charset, self.content_type_extra)

    def receive_data_chunk(self, raw_data, start):
        """Check the disk space again while the file is written: other uploads may arrive at the same time."""
        try:
            self._bytes_until_check -= len(raw_data)
            if self._bytes_until_check < 0:
                self._bytes_until_check = CHECK_EVERY_BYTES
                check_room()
            with refused_if_disk_is_full():
                super().receive_data_chunk(raw_data, start)
        except (DiskFull, OSError):
            self.file.close()
            raise
