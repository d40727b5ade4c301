"""Connection limits: the addresses that count together, and the moment when a limit is reached."""

import asyncio
from contextlib import ExitStack
from ipaddress import ip_network

import orjson
import pytest

from teleop.asgi import connection_limits
from teleop.asgi.connection_limits import (
    WINDOW_S,
    ConnectionLimit,
    ConnectionLimitMiddleware,
    LimitExceeded,
    PerMinuteLimit,
    address_of,
)


def test_it_frees_places_when_their_holders_leave():
    places = ConnectionLimit(2, 429, "full", "{} of these")
    with ExitStack() as held:
        for whose in ("arm", "arm", "leg"):
            held.enter_context(places.hold(whose))
        with pytest.raises(LimitExceeded, match="2 of these"), places.hold("arm"):
            pass
    with places.hold("arm"), places.hold("arm"):
        pass
    assert not places._taken  # no entry stays for past holders


def test_zero_is_no_limit():
    places, refusals = ConnectionLimit(0, 429, "full", ""), PerMinuteLimit(0, "full", "")
    with ExitStack() as held:
        for _ in range(100):
            held.enter_context(places.hold())
            refusals.note("192.0.2.7")
            refusals.check("192.0.2.7")


def test_it_blocks_only_the_refused_address_until_the_next_window():
    now = [0.0]
    refusals = PerMinuteLimit(3, "refused", "{} refusals", clock=lambda: now[0])
    for _ in range(3):
        refusals.check("192.0.2.7")
        refusals.note("192.0.2.7")
    with pytest.raises(LimitExceeded, match="3 refusals"):
        refusals.check("192.0.2.7")
    refusals.check("192.0.2.8")
    now[0] = WINDOW_S
    refusals.check("192.0.2.7")


@pytest.mark.parametrize(
    "peer, forwarded_for, address",
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.8", "192.0.2.7"),  # the peer is no proxy of ours: its header is ignored
        ("198.51.100.1", "192.0.2.9, 192.0.2.8", "192.0.2.8"),
        ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:9::", "", "2001:db8:1:2::/64"),
    ],
)
def test_it_trusts_only_known_proxies_and_groups_ipv6_by_network(settings, peer, forwarded_for, address):
    settings.TRUSTED_PROXIES = [ip_network("198.51.100.1")]
    headers = [(b"x-forwarded-for", forwarded_for.encode())]
    assert address_of({"client": [peer, 1], "headers": headers}) == address


def answers(sockets, extensions):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "client": ["192.0.2.7", 1], "headers": [], "extensions": extensions}
    asyncio.run(sockets(scope, receive, send))
    return sent


async def refuse(scope, receive, send):
    await send({"type": "websocket.close"})


@pytest.fixture
def one_refusal(monkeypatch):
    monkeypatch.setattr(
        connection_limits, "refusals", PerMinuteLimit(1, "address_refused", "{} handshakes (REFUSALS_PER_ADDRESS)")
    )


def test_a_refusal_returns_429_and_names_the_limit(one_refusal):
    sockets = ConnectionLimitMiddleware(refuse)
    assert answers(sockets, {}) == [{"type": "websocket.close"}]
    start, body = answers(sockets, {"websocket.http.response": {}})
    assert start["status"] == 429
    assert "REFUSALS_PER_ADDRESS" in orjson.loads(body["body"])["detail"]


def test_it_closes_with_1013_without_the_http_response_extension(one_refusal):
    sockets = ConnectionLimitMiddleware(refuse)
    answers(sockets, {})
    assert answers(sockets, {}) == [{"type": "websocket.accept"}, {"type": "websocket.close", "code": 1013}]
