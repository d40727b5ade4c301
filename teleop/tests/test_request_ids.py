import asyncio

import pytest

from teleop.asgi.request_ids import current, with_request_ids


def answer(*headers):
    """Return the answer's headers, and the id that was current while it was streamed."""
    sent = []

    async def streaming(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"etag", b"1")]})
        await send({"type": "http.response.body", "body": current.get().encode()})

    async def send(message):
        sent.append(message)

    asyncio.run(with_request_ids(streaming)({"type": "http", "headers": headers}, None, send))
    return dict(sent[0]["headers"]), sent[1]["body"]


def test_it_keeps_a_valid_request_id():
    headers, seen = answer((b"x-request-id", b"0123456789abcdef0123456789abcdef"))
    assert headers[b"x-request-id"] == seen == b"0123456789abcdef0123456789abcdef"
    assert headers[b"etag"] == b"1"


@pytest.mark.parametrize("given", [b"", b"short", b"x" * 65, b"with a space", b"line\nbreak", b"\xff" * 10])
def test_it_replaces_an_invalid_request_id(given):
    headers, seen = answer((b"x-request-id", given))
    assert headers[b"x-request-id"] == seen
    assert len(seen) == 32 and seen.isalnum()
