"""A transport sends a connection's messages in order, under any ASGI server."""

import asyncio
import json

from robots.close_codes import Close
from teleop.ingest.transports import AsgiTransport


def sent(say) -> list:
    """Return the message types and the close code that `say(transport)` sends at once."""
    left: list = []

    async def send(message: dict) -> None:
        await asyncio.sleep(0)
        left.append(json.loads(message["text"])["type"] if "text" in message else message["code"])

    async def run() -> None:
        transport = AsgiTransport(send)
        say(transport)
        await transport._sending

    asyncio.run(run())
    return left


def test_it_sends_messages_acks_and_close_in_order():
    def say(transport: AsgiTransport) -> None:
        transport.send('{"type": "error"}')
        transport.send_ack(8)
        transport.send('{"type": "ended"}')
        transport.close(Close.ENDED)

    assert sent(say) == ["error", "ack", "ended", 1000]


def test_it_merges_queued_acks_into_one():
    def say(transport: AsgiTransport) -> None:
        for index in range(100):
            transport.send_ack(index)

    assert sent(say) == ["ack"]
