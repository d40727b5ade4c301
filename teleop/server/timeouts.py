"""How long the far end of an HTTP connection may take; stock Twisted waits for as long as a byte a minute comes."""

import time

from twisted.web.http import HTTPChannel

REQUEST_TIMEOUT_S = 30
MIN_BODY_RATE = 2**10  # bytes a second: a camera on a bad link sends more
READER_TIMEOUT_S = 120  # a paused video too: its player asks again for the rest


class SlowRequestTimeoutChannel(HTTPChannel):
    """A connection that is idle, or whose head is not whole after 30 s, is closed, however the bytes trickle.

    A body may take its time, but not fall behind MIN_BODY_RATE for 30 s.
    """

    _body_since: float | None = None

    def rawDataReceived(self, data):
        """Pass bytes that came in one packet with a WebSocket's handshake on to its protocol.

        Twisted would keep them for the next request of this channel, which there is not.
        """
        if self.transport.protocol is self:
            super().rawDataReceived(data)
        else:
            self.transport.protocol.dataReceived(data)

    def allHeadersReceived(self):
        super().allHeadersReceived()
        self.restart_body_timeout()

    def restart_body_timeout(self) -> None:
        self._body_since = time.monotonic()
        super().resetTimeout()

    def allContentReceived(self):
        self._body_since = None
        super().allContentReceived()

    def resetTimeout(self):
        """Called whenever bytes arrive."""
        if self._body_since is not None:
            expected = (time.monotonic() - self._body_since) * MIN_BODY_RATE
            if self.requests[-1].content.tell() >= expected:
                super().resetTimeout()


class Reader:
    """Whether who reads a long answer still does: it waits for him, and so does what it has open in the database."""

    def __init__(self) -> None:
        self._unsent: int | None = None
        self._since = time.monotonic()

    def is_gone(self, unsent: int) -> bool:
        if unsent != self._unsent:
            self._unsent, self._since = unsent, time.monotonic()
        return time.monotonic() - self._since > READER_TIMEOUT_S
