"""The TCP connections that Twisted accepts; each override states its reason."""

import socket
import time
from collections import deque
from collections.abc import Callable

from twisted.internet import address, tcp

NEW_PER_TURN = 4
ACCEPTED_AT_ONCE, ACCEPTING_S = 10, 0.004
IPV4_MAPPED = "::ffff:"


class NewConnections:
    """Begin to read from NEW_PER_TURN new connections in a turn of the event loop, in the order of their arrival.

    A turn then takes a few milliseconds, and the server serves streaming robots in between. A fleet that reconnected
    with 1,000 handshakes at once blocked the loop for 240 ms in one turn.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]):
        self._call_soon = call_soon
        self._waiting: deque[Callable[[], None]] = deque()

    def add(self, begin: Callable[[], None]) -> None:
        self._waiting.append(begin)
        if len(self._waiting) == 1:
            self._call_soon(self._begin_some)

    def _begin_some(self) -> None:
        for begin in [self._waiting.popleft() for _ in range(min(NEW_PER_TURN, len(self._waiting)))]:
            self._call_soon(begin)  # each in its own call, so that an exception in one stops no other
        if self._waiting:
            self._call_soon(self._begin_some)


class TcpConnection(tcp.Server):
    """One accepted connection."""

    is_queued = False  # bytes have arrived and wait for their turn to be read
    _has_begun = False
    _is_reset = False

    def getPeer(self):
        """Return an IPv4 peer of an IPv6 socket by its IPv4 address, which limits and trusted proxies use."""
        peer = super().getPeer()
        if peer.host.startswith(IPV4_MAPPED):
            return address.IPv4Address("TCP", peer.host.removeprefix(IPV4_MAPPED), peer.port)
        return peer

    def doRead(self):
        """Read once. Before the first read wait for this connection's turn; after a reset read on.

        When a peer resets its connection, uvloop calls this once more and stops watching the socket. If bytes precede
        the reset, Twisted would not notice the end: the robot stayed online, and the next write raised "UVPoll closed".
        In Daphne's loop of pings that exception ended the loop for all connections.
        """
        if not self._has_begun:
            self._has_begun = self.is_queued = True
            self.stopReading()
            self.server.new_connections.add(self._begin)
            return None
        lost = super().doRead()
        if lost is None and (self._is_reset or self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            self._is_reset = True
            self.reactor.callLater(0, self._read_on)
        return lost

    def _begin(self) -> None:
        self.is_queued = False
        if self.connected and not self.disconnecting:
            self.startReading()
            self.reactor._readOrWrite(self, True)

    def _read_on(self) -> None:
        if self.connected:
            self.reactor._readOrWrite(self, True)


def adjust(port: tcp.Port, new_connections: NewConnections) -> None:
    """Make a listening port accept TcpConnections, and set its socket's family: Daphne assumes IPv4 for each."""

    def accept_some() -> None:
        """Accept for ACCEPTING_S. Twisted accepts 100 at once, and more whenever that many wait: 30 ms a turn.

        Connections that are closed at once take a tenth of that. They must end soon, as the kernel's queue is short.
        """
        until = time.monotonic() + ACCEPTING_S
        is_more = True
        while is_more and time.monotonic() < until:
            port.numberAccepts = ACCEPTED_AT_ONCE
            tcp.Port.doRead(port)
            is_more = port.numberAccepts > ACCEPTED_AT_ONCE  # Twisted raised it: that many connections were waiting

    port.doRead = accept_some
    port.transport = TcpConnection
    port.new_connections = new_connections
    port.socket = socket.socket(fileno=port.socket.detach())
    port.fileno = port.socket.fileno
    if port.socket.family == socket.AF_INET6:
        port.addressFamily, port._addressType = socket.AF_INET6, address.IPv6Address
