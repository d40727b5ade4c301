"""Static files. Their URLs hold a version of all files, so a browser may keep them for a year."""

import hashlib
import re
from functools import cache

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpResponse
from django.utils.functional import cached_property
from whitenoise.middleware import WhiteNoiseMiddleware

VERSIONED = re.compile(r"/static/(?P<version>[0-9a-f]{12})/(?P<name>.+)")
FOR_A_YEAR = "public, max-age=31536000, immutable"


@cache
def version() -> str:
    """Return a hash of the names and contents of all static files: equal on every server of the same release."""
    digest = hashlib.sha256()
    for finder in finders.get_finders():
        for name, storage in sorted(finder.list([]), key=lambda found: found[0]):
            digest.update(name.encode())
            with storage.open(name) as file:
                digest.update(file.read())
    return digest.hexdigest()[:12]


class VersionedStorage(StaticFilesStorage):
    """Storage whose URLs hold the version as a folder, so that a module's relative imports hold it too."""

    @cached_property
    def base_url(self) -> str:
        # While developing, a file changes without a restart.
        return super().base_url if settings.DEBUG else f"{super().base_url}{version()}/"


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise, also for URLs with a version. Another release's version gets this release's file, for a minute.

    It reads the list of files with the first request for one of them. At the start this would take 0.03 s.
    """

    def add_files_from_finders(self):
        self._are_files_listed = False

    def __call__(self, request):
        if not request.path_info.startswith(self.static_prefix):
            return self.get_response(request)
        if not self.autorefresh and not self._are_files_listed:
            super().add_files_from_finders()
            self._are_files_listed = True
        versioned = VERSIONED.fullmatch(request.path_info)
        if versioned is None:
            return super().__call__(request)
        request.path_info = f"/static/{versioned['name']}"
        response = super().__call__(request)
        if response.status_code in (200, 206, 304) and versioned["version"] == version():
            response["Cache-Control"] = FOR_A_YEAR
        return response

    @staticmethod
    def serve(static_file, request):
        """Return the file's bytes. As a file, Django would read it as a whole too, in a further call of the thread."""
        found = static_file.get_response(request.method, request.META)
        response = HttpResponse(status=int(found.status))
        del response["Content-Type"]
        for name, value in found.headers:
            response[name] = value
        if found.file:
            with found.file as file:
                response.content = file.read()
        return response
