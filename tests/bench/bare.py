"""The least that Daphne can serve: one answer for every request. `daphne tests.bench.bare:application`."""

BODY = b'{"status":"ok"}'
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}


async def application(scope, receive, send):
    await send(START)
    await send({"type": "http.response.body", "body": BODY})
