"""The limit on requests that Django processes at a time."""

import asyncio
import json
import threading

import pytest
from asgiref.sync import sync_to_async

from teleop.asgi import requests
from teleop.asgi.requests import MAX_AT_WORK, Requests


class Application:
    """Application that begins each response when `may_respond` is set and ends it when `may_end` is set."""

    def __init__(self) -> None:
        self.at_work = 0
        self.may_respond, self.may_end = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope, receive, send):
        self.at_work += 1
        await self.may_respond.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.may_end.wait()


class Client:
    """Client that sends requests to one server; `answers` has the messages of each request."""

    def __init__(self) -> None:
        self.application = Application()
        self.requests = Requests(self.application)
        self.answers: list[list[dict]] = []

    def ask(self, path: str = "/robots", method: str = "GET") -> asyncio.Task:
        answer: list[dict] = []
        self.answers.append(answer)

        async def send(message):
            answer.append(message)

        scope = {"type": "http", "method": method, "path": path}
        return asyncio.create_task(self.requests(scope, None, send))


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_request_waits_until_another_one_begins_its_response():
    async def scenario():
        client = Client()
        tasks = [client.ask() for _ in range(MAX_AT_WORK + 2)]
        await turns()
        assert client.application.at_work == MAX_AT_WORK
        client.application.may_respond.set()
        await turns()
        assert client.application.at_work == MAX_AT_WORK + 2  # although no request has ended
        client.application.may_end.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


@pytest.mark.parametrize("path, method", [("/health/live", "GET"), ("/videos", "POST"), ("/videos/", "POST")])
def test_health_checks_and_uploads_are_not_queued(path, method):
    async def scenario():
        client = Client()
        client.application.may_end.set()
        tasks = [client.ask() for _ in range(MAX_AT_WORK)] + [client.ask(path, method)]
        await turns()
        assert client.application.at_work == MAX_AT_WORK + 1
        client.application.may_respond.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_it_returns_503_to_a_request_that_waits_too_long(monkeypatch):
    monkeypatch.setattr(requests, "MAX_WAIT_S", 0.01)

    async def scenario():
        client = Client()
        client.application.may_end.set()
        tasks = [client.ask() for _ in range(MAX_AT_WORK)]
        await turns()
        await client.ask()
        start, body = client.answers[-1]
        assert (start["status"], dict(start["headers"])[b"retry-after"]) == (503, b"5")
        assert json.loads(body["body"])["detail"].startswith("this worker is busy with 8 requests")
        client.application.may_respond.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_a_failed_request_releases_its_slot():
    async def scenario():
        client = Client()

        async def fail(scope, receive, send):
            raise ValueError("an error of the application")

        client.requests._application = fail
        tasks = [client.ask() for _ in range(2 * MAX_AT_WORK)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(error) for error in found} == {ValueError}

    asyncio.run(scenario())


def test_a_request_completes_although_the_server_cancels_it():
    async def scenario():
        client = Client()
        task = client.ask()
        await turns()
        for _ in range(3):
            task.cancel()
            await turns()
        client.application.may_respond.set()
        client.application.may_end.set()
        await turns()
        assert client.answers[0][0]["status"] == 200

    asyncio.run(scenario())


def test_requests_use_the_same_thread_one_after_another():
    threads = []

    async def application(scope, receive, send):
        threads.append(await sync_to_async(threading.get_ident)())

    async def scenario():
        client = Client()
        client.requests._application = application
        for _ in range(3):
            await client.ask()

    asyncio.run(scenario())
    assert len(threads) == 3 and len(set(threads)) == 1


def test_concurrent_requests_have_a_thread_each():
    threads = []
    both = threading.Barrier(2, timeout=10)  # a single thread would wait for itself

    def meet() -> None:
        both.wait()
        threads.append(threading.get_ident())

    async def application(scope, receive, send):
        await sync_to_async(meet)()

    async def scenario():
        client = Client()
        client.requests._application = application
        await asyncio.gather(client.ask(), client.ask())

    asyncio.run(scenario())
    assert len(set(threads)) == 2
