"""The TCP connections that Twisted accepts for us, with overrides that each state their reason."""

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

    A turn then takes a few milliseconds, and the robots that stream are served in between. A fleet that came back with
    1,000 handshakes at once held up one turn for 240 ms.
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
            self._call_soon(begin)  # by itself, so that an exception in one stops no other
        if self._waiting:
            self._call_soon(self._begin_some)


class TcpConnection(tcp.Server):
    """One accepted connection."""

    is_queued = False  # something has arrived, and waits for its turn to be read
    _has_begun = False
    _is_reset = False

    def getPeer(self):
        """A socket for IPv6 takes IPv4 too; limits and trusted proxies are for the IPv4 address."""
        peer = super().getPeer()
        if peer.host.startswith(IPV4_MAPPED):
            return address.IPv4Address("TCP", peer.host.removeprefix(IPV4_MAPPED), peer.port)
        return peer

    def doRead(self):
        """Read once, but wait for this connection's turn before the first time, and read on after a reset.

        uvloop calls this once more when a peer resets its connection, and stops to watch the socket. If there are bytes
        in front of the reset, Twisted would not learn of the end: the robot stayed online, and the next write raised
        "UVPoll closed", in Daphne's loop of pings too, which ended it for all connections.
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
    """Make a listening port accept TcpConnections, and give it its socket's family: Daphne takes each for IPv4."""

    def accept_some() -> None:
        """Accept for ACCEPTING_S. Twisted accepts 100 at once, and more each time that as many wait: 30 ms a turn.

        Those that are closed at once take a tenth of that, and have to be gone soon, as the kernel's queue is short.
        """
        until = time.monotonic() + ACCEPTING_S
        is_more = True
        while is_more and time.monotonic() < until:
            port.numberAccepts = ACCEPTED_AT_ONCE
            tcp.Port.doRead(port)
            is_more = port.numberAccepts > ACCEPTED_AT_ONCE  # raised, as all of them were there

    port.doRead = accept_some
    port.transport = TcpConnection
    port.new_connections = new_connections
    port.socket = socket.socket(fileno=port.socket.detach())
    port.fileno = port.socket.fileno
    if port.socket.family == socket.AF_INET6:
        port.addressFamily, port._addressType = socket.AF_INET6, address.IPv6Address
