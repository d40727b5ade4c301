"""The client's half of the Foxglove WebSocket protocol `foxglove.sdk.v1`, without I/O: subscribe, and take messages."""

import json
import logging
import re
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

logger = logging.getLogger("teleop_client")

SUBPROTOCOL = "foxglove.sdk.v1"
MESSAGE_DATA = 1
_HEADER = struct.Struct("<BIQ")  # opcode, id of the subscription, log time in nanoseconds
# The server advertises a channel before it accepts subscriptions to it (foxglove-sdk 0.25.3), so a subscription that
# is sent at once may come too early. It is sent again; the server is ready within microseconds.
_TOO_EARLY = re.compile(r"Unknown channel ID: (\d+)")
MAX_ATTEMPTS = 100
_STATUS_LEVELS = (logging.DEBUG, logging.WARNING, logging.ERROR)

Handler = Callable[[int, memoryview], None]  # of a message: its log time in nanoseconds, and its payload


class FoxgloveError(Exception):
    """The server cannot be used: a sentence for the robot's owner."""


class ServerInfo(NamedTuple):
    """The first message of a server. `session_id` tells one run of the server from another."""

    name: str
    session_id: str | None
    capabilities: frozenset[str]


class Channel(NamedTuple):
    """A topic that the server has advertised."""

    id: int
    topic: str
    encoding: str
    schema_name: str


class Receiver(Protocol):
    """Takes the messages of the topics for which it returns a handler."""

    def handler(self, channel: Channel) -> Handler | None: ...

    def remove(self, topic: str) -> None: ...


class FoxgloveClient:
    """State of one connection. `on_server` gets the server's greeting, and returns the receiver of its messages."""

    def __init__(self, on_server: Callable[[ServerInfo], Receiver]) -> None:
        self._on_server = on_server
        self._receiver: Receiver | None = None
        self._subscriptions: dict[int, tuple[int, str]] = {}  # by channel: its subscription and its topic
        self._handlers: dict[int, Handler] = {}  # by subscription
        self._attempts: Counter[int] = Counter()  # by channel
        self._next_id = 1

    def receive(self, message: str | bytes) -> str | None:
        """Take a message of the server; return the answer to send, if there is one. Raises FoxgloveError."""
        if isinstance(message, str):
            return self._on_text(_parse(message))
        self._on_data(message)
        return None

    def _on_text(self, message: dict[str, Any]) -> str | None:
        match message.get("op"):
            case "serverInfo":
                before, self._receiver = self._receiver, self._on_server(_server_info(message))
                if before not in (None, self._receiver):  # the SDK can do so, and keeps the subscriptions
                    raise FoxgloveError("it began another session, which needs another connection")
            case "advertise":
                return self._subscribe([_channel(each) for each in _list(message, "channels")])
            case "unadvertise":
                self._remove(_list(message, "channelIds"))
            case "status":
                return self._on_status(message)
        return None

    def _subscribe(self, channels: list[Channel]) -> str | None:
        if self._receiver is None:
            raise FoxgloveError("it advertised topics before its serverInfo")
        subscriptions = []
        for channel in channels:
            if channel.id not in self._subscriptions and (handler := self._receiver.handler(channel)):
                self._subscriptions[channel.id] = self._next_id, channel.topic
                self._handlers[self._next_id] = handler
                subscriptions.append((self._next_id, channel.id))
                self._next_id += 1
        return _subscribe(subscriptions) if subscriptions else None

    def _on_status(self, message: dict[str, Any]) -> str | None:
        """Subscribe again if a subscription came too early; log any other status."""
        if refused := _TOO_EARLY.fullmatch(str(message.get("message"))):
            channel_id = int(refused[1])
            self._attempts[channel_id] += 1
            if channel_id in self._subscriptions and self._attempts[channel_id] < MAX_ATTEMPTS:
                return _subscribe([(self._subscriptions[channel_id][0], channel_id)])
        _log_status(message)
        return None

    def _remove(self, channel_ids: list[Any]) -> None:
        for channel_id in channel_ids:
            if isinstance(channel_id, int) and channel_id in self._subscriptions:
                subscription, topic = self._subscriptions.pop(channel_id)
                del self._handlers[subscription]
                if self._receiver:
                    self._receiver.remove(topic)

    def _on_data(self, message: bytes) -> None:
        if not message or message[0] != MESSAGE_DATA:
            return
        if len(message) < _HEADER.size:
            raise FoxgloveError(f"it sent a message of {len(message)} bytes; at least {_HEADER.size} expected")
        _, subscription, log_time_ns = _HEADER.unpack_from(message)
        if handler := self._handlers.get(subscription):  # messages of a removed topic may still be on their way
            handler(log_time_ns, memoryview(message)[_HEADER.size :])


def _subscribe(subscriptions: list[tuple[int, int]]) -> str:
    """Return the message that subscribes to channels: ids of the subscription, and of the channel."""
    pairs = [{"id": subscription, "channelId": channel} for subscription, channel in subscriptions]
    return json.dumps({"op": "subscribe", "subscriptions": pairs})


def _parse(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise FoxgloveError(f"it sent the text {text[:40]!r}; a JSON object expected")
    return message


def _server_info(message: dict[str, Any]) -> ServerInfo:
    session_id = message.get("sessionId")
    capabilities = [each for each in _list(message, "capabilities") if isinstance(each, str)]
    return ServerInfo(
        str(message.get("name")), None if session_id is None else str(session_id), frozenset(capabilities)
    )


def _channel(value: Any) -> Channel:
    match value:
        case {"id": int(number), "topic": str(topic), "encoding": str(encoding), "schemaName": str(schema)}:
            return Channel(number, topic, encoding, schema)
    raise FoxgloveError(f"it advertised {str(value)[:80]}; id, topic, encoding and schemaName expected")


def _list(message: dict[str, Any], name: str) -> list[Any]:
    if not isinstance(value := message.get(name), list):
        raise FoxgloveError(f"{name} of its {message['op']} is {str(value)[:40]!r}; a list expected")
    return value


def _log_status(message: dict[str, Any]) -> None:
    level = message.get("level")
    known = level if isinstance(level, int) and 0 <= level < len(_STATUS_LEVELS) else 1
    logger.log(_STATUS_LEVELS[known], "the Foxglove server says: %.500s", message.get("message"))
