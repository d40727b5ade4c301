"""Request bodies under Daphne: stored on disk while they arrive, and passed to the application as a file.

With stock Daphne an upload of 200 MB took 2.6 GB of memory and blocked the event loop for most of a minute.
"""

import errno
import io

from daphne.http_protocol import WebRequest as DaphneWebRequest

from teleop.monitoring.disk_reserve import CHECK_EVERY_BYTES, shortage
from teleop.server.http_limits import uploaded_bytes
from teleop.server.upload_check import Refusal


class BodyRequest(DaphneWebRequest):
    """A request whose body is in the file `spooled` if the body was too large for memory (100 kB)."""

    spooled: io.IOBase | None = None
    _bytes_until_check = CHECK_EVERY_BYTES

    def __init__(self, *args, **kwargs):
        # Twisted would read a form as a whole and parse it as an e-mail, for an `args` that no code uses.
        super().__init__(*args, parsePOSTFormSubmission=False, **kwargs)

    def handleContentChunk(self, data):
        """Refuse the rest when the disk fills up: other uploads may have arrived since the head was checked."""
        detail = None
        try:
            super().handleContentChunk(data)
            self._bytes_until_check -= len(data)
            if self._bytes_until_check < 0:
                self._bytes_until_check = CHECK_EVERY_BYTES
                detail = shortage()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            detail = f"the disk is full: {error.strerror}"
        if detail:
            self.channel.refuse(Refusal(507, "disk_full", detail))
            self.content.close()
        elif not isinstance(self.content, io.BytesIO):
            uploaded_bytes.spend(len(data))
            if wait_s := uploaded_bytes.wait_s():
                self.channel.pause_reading(wait_s)

    def process(self):
        """Keep a large body in its file. Daphne would put it as a whole into the application's queue, in memory."""
        if not isinstance(self.content, io.BytesIO):
            self.spooled, self.content = self.content, io.BytesIO()
        return super().process()
