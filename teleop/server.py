"""Daphne as we run it: on uvloop, with what must differ from stock, each override with its reason.

Import this before anything else imports Twisted: it decides which reactor and event loop there are.
"""

import asyncio
import logging
import sys
import time

import uvloop

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # before daphne.server makes its loop; 15 us a frame

from daphne.http_protocol import WebRequest  # noqa: E402
from daphne.server import Server as DaphneServer  # noqa: E402
from daphne.ws_protocol import WebSocketProtocol as DaphneWebSocketProtocol  # noqa: E402
from twisted.internet import defer, reactor  # noqa: E402

from teleop.ingest.worker import running_worker  # noqa: E402
from teleop.protocol import MAX_MESSAGE_BYTES, PING_INTERVAL_S, PING_TIMEOUT_S  # noqa: E402

logger = logging.getLogger(__name__)

MAX_UNSENT_BYTES = 2**20
SHUTDOWN_STEP_S = 2


class WebSocketProtocol(DaphneWebSocketProtocol):
    def serverClose(self, code=None):
        """autobahn's sendClose takes only 1000 and 3000-4999; 1012 and 1013 are ours to send too."""
        self.sendCloseFrame(code=code or 1000)

    def onClose(self, wasClean, code, reason):
        """Where we failed the connection (1007, 1009) the application is told why, not what the client answered."""
        super().onClose(wasClean, self.localCloseCode if self.failedByMe else code, reason)

    def serverSend(self, content, binary=False):
        """Sockets are written without back-pressure: a client that does not read is cut off, not remembered."""
        if unsent_bytes(self.transport) > MAX_UNSENT_BYTES:
            self.dropConnection(abort=True)
        else:
            super().serverSend(content, binary)


def unsent_bytes(transport) -> int:
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


class Server(DaphneServer):
    """One worker process."""

    def __init__(self, application, host: str, port: int, ready):
        super().__init__(
            application,
            endpoints=[f"tcp:{port}:interface={host.replace(':', chr(92) + ':')}"],
            signal_handlers=True,
            ready_callable=ready,
            server_name="",
            websocket_timeout=-1,  # stock: a day, and then 1000, which tells a robot that it is done
            websocket_max_message_size=MAX_MESSAGE_BYTES,
            websocket_max_frame_size=MAX_MESSAGE_BYTES,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            verbosity=1,
        )
        self.exit_code = 0

    def run(self):
        reactor.callWhenRunning(self._begin)
        super().run()

    def _begin(self):
        self.ws_factory.protocol = WebSocketProtocol
        self.ws_factory.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=3)
        running_worker()  # at once, not with the first robot: the sweep must run

    def listen_error(self, failure):
        logger.critical("cannot listen: %s", failure.getErrorMessage())
        self.exit_code = 1
        self.stop()

    def kill_all_applications(self):
        """Daphne has no lifespan; Twisted waits for what this returns before it stops."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._shut_down()))

    async def _shut_down(self):
        await running_worker().shutdown(SHUTDOWN_STEP_S)
        await asyncio.sleep(0.05)
