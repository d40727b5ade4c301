"""What a connection has to say leaves in its order, whatever server it runs under."""

import asyncio
import json

from teleop.ingest.consumer import QueuedOutlet
from teleop.protocol import Close


def sent(say) -> list:
    """Types of the messages, and the close code, of what `say(outlet)` says at once."""
    left: list = []

    async def send(message: dict) -> None:
        await asyncio.sleep(0)
        left.append(json.loads(message["text"])["type"] if "text" in message else message["code"])

    async def run() -> None:
        outlet = QueuedOutlet(send)
        say(outlet)
        await outlet._sending

    asyncio.run(run())
    return left


def test_nothing_overtakes_an_ack():
    def say(outlet: QueuedOutlet) -> None:
        outlet.send('{"type": "error"}')
        outlet.send_ack(8)
        outlet.send('{"type": "ended"}')
        outlet.close(Close.ENDED)

    assert sent(say) == ["error", "ack", "ended", 1000]


def test_an_ack_that_waits_gives_way_to_the_next():
    def say(outlet: QueuedOutlet) -> None:
        for index in range(100):
            outlet.send_ack(index)

    assert sent(say) == ["ack"]
