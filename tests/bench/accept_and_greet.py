"""The reference for handshakes: stock Daphne with an application that only accepts and greets each WebSocket.

It looks nothing up and stores nothing, so its time for many handshakes is the cost of Daphne, autobahn and Twisted.
usage: accept_and_greet.py PORT
"""

import sys

from daphne.server import Server

GREETING = '{"type":"session","session_id":1,"session":"accept_and_greet","next_frame_index":0,"max_unacked":6000}'
SUBPROTOCOL = "teleop.v1"
BACKLOG = 1024


async def application(scope, receive, send):
    if scope["type"] != "websocket":
        raise ValueError(f"the scope's type is {scope['type']!r}; websocket expected")
    await receive()  # websocket.connect
    await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
    await send({"type": "websocket.send", "text": GREETING})
    while (await receive())["type"] != "websocket.disconnect":
        pass


if __name__ == "__main__":
    # With the backlog of `serve`: with stock Daphne's 50 most of 1,000 clients wait 1-3 s for TCP's retry.
    Server(application, endpoints=[f"tcp:port={int(sys.argv[1])}:interface=127.0.0.1:backlog={BACKLOG}"]).run()
