"""Timeouts for slow HTTP clients. Stock Twisted waits for as long as one byte a minute arrives."""

import time

from twisted.web.http import HTTPChannel

REQUEST_TIMEOUT_S = 30
MIN_BODY_RATE = 2**10  # bytes a second: a camera on a bad link sends more
READER_TIMEOUT_S = 120  # for a paused video too: its player requests the rest again


class SlowRequestTimeoutChannel(HTTPChannel):
    """A channel that closes an idle connection, or an incomplete head after 30 s, even if bytes still arrive.

    A body may take longer, but it must not fall behind MIN_BODY_RATE for 30 s.
    """

    _body_since: float | None = None

    def rawDataReceived(self, data):
        """Pass bytes that arrived in one packet with a WebSocket's handshake to the WebSocket's protocol.

        Twisted would keep these bytes for the next request of this channel, and there is none.
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
        """Restart the timeout if the body is fast enough. Twisted calls this whenever bytes arrive."""
        if self._body_since is not None:
            expected = (time.monotonic() - self._body_since) * MIN_BODY_RATE
            if self.requests[-1].content.tell() >= expected:
                super().resetTimeout()


class StalledReaderDetector:
    """Detect a client that stopped reading a streamed response, which would keep its database connection open."""

    def __init__(self) -> None:
        self._unsent: int | None = None
        self._since = time.monotonic()

    def is_gone(self, unsent: int) -> bool:
        if unsent != self._unsent:
            self._unsent, self._since = unsent, time.monotonic()
        return time.monotonic() - self._since > READER_TIMEOUT_S
