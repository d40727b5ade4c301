"""A WebSocket client that decides by itself which bytes go into one packet, and when to answer or to reset."""

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from tests.services import Server


class RawClient:
    """A WebSocket client that sends nothing by itself, not even a pong; `handshake` is the request that opens it."""

    def __init__(self, server: Server, robot_id: str, mute: bool, source: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=10, source_address=(source, 0))
        subprotocols = None if mute else ["teleop.v1"]
        self._protocol = ClientProtocol(parse_uri(f"{server.ws_url}/ws/log/{robot_id}"), subprotocols=subprotocols)
        self._protocol.send_request(self._protocol.connect())
        self.handshake = b"".join(self._protocol.data_to_send())

    def frames(self) -> Iterator[Frame]:
        """Yield the received frames until the server closes or resets the connection."""
        while True:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return
            if not data:
                return
            self._protocol.receive_data(data)
            yield from (event for event in self._protocol.events_received() if isinstance(event, Frame))

    def messages(self) -> Iterator[dict]:
        for frame in self.frames():
            if frame.opcode is Opcode.TEXT:
                yield json.loads(frame.data)

    def reset(self) -> None:
        """End the connection with RST, as the kernel does for a program that is killed with unread bytes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@contextmanager
def raw_client(server: Server, robot_id: str, mute: bool = False, source: str = "") -> Iterator[RawClient]:
    """Connect from the address `source`; "" is the usual one."""
    client = RawClient(server, robot_id, mute, source)
    try:
        yield client
    finally:
        client.socket.close()


def masked(*messages: dict) -> bytes:
    return b"".join(Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=True) for message in messages)
