"""Daphne on uvloop, with the overrides that this server needs; each override states its reason.

Import this module before anything else imports Twisted: the module decides which reactor and event loop are used.
"""

import asyncio
import gc
import logging
import socket
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import uvloop

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # before daphne.server makes its loop; saves 15 us a frame

# Twisted would import OpenSSL, a tenth of a second of each start, for TLS. A proxy in front of this server ends TLS.
sys.modules["OpenSSL"] = None

import daphne.http_protocol
import daphne.server
import daphne.ws_protocol
from daphne.http_protocol import HTTPFactory
from daphne.server import Server as DaphneServer
from twisted.internet import asyncioreactor, defer, reactor
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    globalLogPublisher,
)

del sys.modules["OpenSSL"]

from robots.client_address import counted_address, is_trusted
from teleop.ingest.handshakes import OPEN_TIMEOUT_S
from teleop.ingest.worker import running_worker
from teleop.live.hub import running_hub
from teleop.monitoring import counters
from teleop.protocol import MAX_MESSAGE_BYTES, PING_INTERVAL_S, PING_TIMEOUT_S
from teleop.server import http_limits, timeouts
from teleop.server.http_channel import BoundedChannel
from teleop.server.request_body import BodyRequest
from teleop.server.tcp_connections import NewConnections, adjust
from teleop.server.websocket import WebSocketProtocol
from teleop.server.websocket_output import MAX_UNSENT_BYTES, unsent_bytes

logger = logging.getLogger(__name__)

# Twisted wraps every read and write in a logging context. Its _readOrWrite catches and logs anyway. Saves 4 us a frame.
asyncioreactor.callWithLogger = lambda _logger, function, *args: function(*args)

# Twisted's timers (autobahn uses them too) and the ages that Daphne keeps use the time of day. With the clock set back
# by two hours no ping was sent and no request timed out for two hours. With the clock set ahead all timed out at once.
reactor.seconds = time.monotonic
for module in (daphne.server, daphne.ws_protocol, daphne.http_protocol):
    module.time = SimpleNamespace(time=time.monotonic)

SHUTDOWN_S = 4  # a process manager expects this process to exit within five


class WebRequest(BodyRequest):
    def handle_exception(self, exception):
        """Abort the connection if its response has begun: only a cut response can show the error then.

        Stock Daphne tries to begin another response, which hangs the client and stops the check of all applications.
        """
        if self._response_started:
            self.transport.abortConnection()
        else:
            super().handle_exception(exception)


class Server(DaphneServer):
    """One worker process. It calls `ready` when it listens and its loop runs; then a signal ends it in order."""

    def __init__(
        self,
        application,
        listening: socket.socket,
        signal_handlers: bool = True,
        ready: Callable[[], None] = lambda: None,
    ):
        super().__init__(
            application,
            endpoints=[f"fd:fileno={listening.detach()}"],  # Twisted listens on a duplicate and closes it
            signal_handlers=signal_handlers,
            server_name="",
            websocket_timeout=-1,  # stock: one day, then close code 1000, which means "done" to a robot
            # Stock: 5 s. If the database hangs, the answer is 1013 after 10 s; the request has arrived by then.
            websocket_handshake_timeout=OPEN_TIMEOUT_S + 5,
            websocket_max_message_size=MAX_MESSAGE_BYTES,
            websocket_max_frame_size=MAX_MESSAGE_BYTES,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
        )
        self._ready = ready
        self._warned_at = 0.0

    def run(self):
        reactor._asyncioEventloop.call_soon(self._begin)
        super().run()

    def _begin(self):
        """Adjust the objects that Daphne's run() has made. This is the first turn of the loop."""
        self.ws_factory.protocol = WebSocketProtocol
        self.ws_factory.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=3, allowNullOrigin=True)
        self.http_factory.protocol = BoundedChannel
        self.http_factory.timeOut = timeouts.REQUEST_TIMEOUT_S
        self.http_factory.buildProtocol = self._build_http_protocol
        self.http_factory.log = lambda request: None  # Twisted would write a line for each request, which goes nowhere
        # Daphne discards Twisted's log, including its errors.
        errors = [LogLevelFilterPredicate(LogLevel.error)]
        globalLogPublisher.addObserver(FilteringLogObserver(STDLibLogObserver("twisted"), errors))
        running_worker()  # at once, not with the first robot, because the sweep must run
        # All objects loaded by now stay. Scanning them again blocked the loop for 70 ms in a burst of connections.
        gc.freeze()
        # By default, Python scans the new objects whenever there are 700. A list of 100 robots makes more; the scans
        # took 8 % of its CPU.
        gc.set_threshold(5000)
        gc.enable()  # `manage.py serve` has disabled it
        self._ready()

    def _build_http_protocol(self, address):
        """Build the protocol of one connection. Twisted closes the connection at once if this returns None."""
        client = counted_address(address.host)
        if not is_trusted(address.host) and http_limits.new_connections.reserve(client) is None:
            counters.HTTP_REFUSED.labels("new_connections").inc()
            self._warn(client)
            return None
        protocol = HTTPFactory.buildProtocol(self.http_factory, address)
        protocol.requestFactory = WebRequest
        return protocol

    def _warn(self, address: str) -> None:
        """Log once a second at most: a line for each of thousands of connections would cost more than to close them."""
        if time.monotonic() - self._warned_at >= 1:
            self._warned_at = time.monotonic()
            logger.warning("closing new connections from %s: too many within a short time", address)

    async def handle_reply(self, protocol, message):
        """Wait while too much of a streamed response is unsent: Daphne has no back-pressure for HTTP responses.

        One slow reader of a long stream took a server from 93 to 648 MB.
        """
        await super().handle_reply(protocol, message)
        detector = timeouts.StalledReaderDetector()
        while message["type"] == "http.response.body" and message.get("more_body") and self._is_behind(protocol):
            await asyncio.sleep(0.02)
            if detector.is_gone(unsent_bytes(protocol.transport)):
                protocol.transport.abortConnection()

    def _is_behind(self, protocol) -> bool:
        details = self.connections.get(protocol, {"disconnected": True})
        return not details.get("disconnected") and unsent_bytes(protocol.transport) > MAX_UNSENT_BYTES

    def create_application(self, protocol, scope):
        if scope["type"] == "websocket":
            scope["extensions"] = {"direct": protocol, "websocket.http.response": {}}
        elif protocol.spooled:
            scope["extensions"] = {"spooled": protocol.spooled}
        return super().create_application(protocol, scope)

    def listen_success(self, port):
        """Adjust the port and return it. Without it `listeners` would hold None, and no code could stop listening."""
        adjust(port, NewConnections(reactor._asyncioEventloop.call_soon))
        super().listen_success(port)
        return port

    def kill_all_applications(self):
        """Shut down in order. Daphne has no lifespan; Twisted waits for the returned Deferred before it stops.

        Stock Daphne cancels the consumers at once: 161 frames of 100 robots were stored and never acknowledged.
        """
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._shut_down()))

    async def _shut_down(self):
        for listener in self.listeners:
            listener.addCallback(lambda port: port.stopListening())
        running_hub().closing.set()
        await running_worker().shutdown(SHUTDOWN_S)
        running = (details.get("application_instance") for details in self.connections.values())
        applications = [application for application in running if application and not application.done()]
        if applications:
            await asyncio.wait(applications, timeout=SHUTDOWN_S / 8)
        for application in applications:
            application.cancel()
