"""Where an upload waits while it comes in, and what is looked at before it is kept."""

import tempfile
from pathlib import Path

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler

from teleop.protocol import MAX_DATA_BYTES

FOLDER = "uploads"  # in MEDIA_ROOT: an upload is kept by a rename, and clean_media finds what a crash has left
MAX_FORM_BYTES = MAX_DATA_BYTES  # what the fields beside the file, and the boundaries, may add


class IncomingFile(TemporaryUploadedFile):
    """Django's own ends in the client's suffix: one of 300 letters is a name that no file system takes."""

    def __init__(self, name, content_type, size, charset, content_type_extra=None):
        folder = Path(settings.MEDIA_ROOT, FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.NamedTemporaryFile(suffix=".upload", dir=folder)  # noqa: SIM115 - closed with the request
        UploadedFile.__init__(self, file, name, content_type, size, charset, content_type_extra)


class UploadHandler(TemporaryFileUploadHandler):
    """To disk, whatever the size: Django keeps up to 2.5 MB in memory."""

    def new_file(self, *args, **kwargs):
        super(TemporaryFileUploadHandler, self).new_file(*args, **kwargs)
        self.file = IncomingFile(self.file_name, self.content_type, 0, self.charset, self.content_type_extra)
