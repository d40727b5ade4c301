"""Connection limits: the addresses that count together, and the moment when a limit is reached."""

import asyncio
from contextlib import ExitStack
from ipaddress import ip_network
from types import SimpleNamespace

import orjson
import pytest

from robots.querysets import HandshakeRefused
from teleop.asgi import connection_limits, refusals
from teleop.asgi.connection_limits import (
    WINDOW_S,
    Checks,
    ConnectionLimit,
    LimitExceeded,
    PerMinuteLimit,
    RefusalDelay,
    address_of,
)
from teleop.asgi.refusals import RefusalMiddleware


def test_it_frees_places_when_their_holders_leave():
    places = ConnectionLimit(2, 429, "full", "{} of these")
    with ExitStack() as held:
        for key in ("arm", "arm", "leg"):
            held.enter_context(places.hold(key))
        with pytest.raises(LimitExceeded, match="2 of these"), places.hold("arm"):
            pass
    with places.hold("arm"), places.hold("arm"):
        pass
    assert not places._taken  # no entry stays for past holders


def test_zero_is_no_limit():
    places, events = ConnectionLimit(0, 429, "full", ""), PerMinuteLimit(0, "full", "")
    with ExitStack() as held:
        for _ in range(100):
            held.enter_context(places.hold())
            events.note("192.0.2.7")
            events.check("192.0.2.7")


def test_it_blocks_only_the_refused_address_until_the_next_window():
    now = [0.0]
    events = PerMinuteLimit(3, "refused", "{} refusals", clock=lambda: now[0])
    for _ in range(3):
        events.check("192.0.2.7")
        events.note("192.0.2.7")
    with pytest.raises(LimitExceeded, match="3 refusals"):
        events.check("192.0.2.7")
    events.check("192.0.2.8")
    now[0] = WINDOW_S
    events.check("192.0.2.7")


@pytest.mark.parametrize(
    "peer, headers, address",
    [
        ("192.0.2.7", [b"192.0.2.8"], "192.0.2.7"),  # the peer is no trusted proxy: its header is ignored
        ("198.51.100.1", [b"192.0.2.9, 192.0.2.8"], "192.0.2.8"),
        ("198.51.100.1", [b"192.0.2.9", b"192.0.2.8"], "192.0.2.8"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
    ],
)
def test_it_counts_the_address_that_trusted_proxies_report(settings, peer, headers, address):
    settings.TRUSTED_PROXIES = [ip_network("198.51.100.1")]
    assert address_of({"client": [peer, 1], "headers": [(b"x-forwarded-for", each) for each in headers]}) == address


def test_it_checks_a_few_handshakes_of_an_address_at_a_time():
    checks, begun, gates = (
        Checks(2, ConnectionLimit(5, 429, "full", "{} wait")),
        [],
        [asyncio.Event() for _ in range(6)],
    )

    async def check(number: int, address: str) -> None:
        async with checks.turn(address):
            begun.append(number)
            await gates[number].wait()

    async def scenario() -> None:
        tasks = [asyncio.create_task(check(number, "192.0.2.7")) for number in range(5)]
        tasks.append(asyncio.create_task(check(5, "192.0.2.8")))
        await asyncio.sleep(0)
        assert begun == [0, 1, 5]
        with pytest.raises(LimitExceeded, match="5 wait"):
            await check(0, "192.0.2.7")
        tasks[2].cancel()
        for gate in gates:
            gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert begun == [0, 1, 5, 3, 4]

    asyncio.run(scenario())
    assert not checks._turns  # no entry stays for past addresses


def test_it_delays_the_refusals_of_one_address_past_its_limit():
    now = [0.0]
    delay = RefusalDelay(60, clock=lambda: now[0])
    assert [delay.reserve("192.0.2.7") for _ in range(60)] == [0] * 60
    assert [round(delay.reserve("192.0.2.7")) for _ in range(8)] == [1, 2, 3, 4, 5, 5, 5, 5]
    assert delay.reserve("192.0.2.8") == 0
    now[0] = 10
    assert delay.reserve("192.0.2.7") == 0
    assert {RefusalDelay(0).reserve("192.0.2.7") for _ in range(1000)} == {0}


def test_it_answers_at_once_if_too_many_refusals_are_delayed(monkeypatch):
    monkeypatch.setattr(connection_limits, "DELAYED_REFUSALS", 3)
    delay = RefusalDelay(1, clock=lambda: 0)

    async def scenario() -> None:
        await delay.wait("192.0.2.7")
        waiting = [asyncio.create_task(delay.wait("192.0.2.7")) for _ in range(3)]
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await delay.wait("192.0.2.7")
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()

    asyncio.run(scenario())


def answers(refusal: Exception, extensions: dict, monkeypatch) -> list[dict]:
    """Return the messages that the middleware sends if the application raises the refusal."""
    sent, noted = [], []
    worker = SimpleNamespace(note_refusal=lambda robot_id, refusal: noted.append((robot_id, refusal.code)))
    monkeypatch.setattr(refusals, "worker_if_any", lambda: worker)

    async def application(scope, receive, send):
        raise refusal

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/ws/log/arm", "client": ["192.0.2.7", 1], "headers": []}
    asyncio.run(RefusalMiddleware(application)(scope | {"extensions": extensions}, None, send))
    assert noted == [("arm", refusal.code)]
    return sent


HTTP_RESPONSE = {"websocket.http.response": {}}
CLOSE = [{"type": "websocket.close"}]


def test_a_refusal_for_now_names_its_limit(monkeypatch):
    start, body = answers(LimitExceeded(429, "full", "the limit is 5 (SETTING)"), HTTP_RESPONSE, monkeypatch)
    assert start["status"] == 429
    assert orjson.loads(body["body"]) == {"detail": "the limit is 5 (SETTING)"}


def test_a_refusal_for_good_gives_a_stranger_no_reason(monkeypatch):
    assert answers(HandshakeRefused("wrong_key", "the key is wrong"), HTTP_RESPONSE, monkeypatch) == CLOSE


def test_it_closes_with_1013_without_the_http_response_extension(monkeypatch):
    accept, close = answers(LimitExceeded(503, "full", ""), {}, monkeypatch)
    assert (accept, close) == ({"type": "websocket.accept"}, {"type": "websocket.close", "code": 1013})
    assert answers(LimitExceeded(403, "foreign_origin", ""), {}, monkeypatch) == CLOSE
