"""Requests in one call of a thread."""

import gc
import io

import orjson
import pytest

from teleop.asgi.django_handler import OneCallHandler
from teleop.models import TeleopSession
from teleop.tests.recordings import make_session

pytestmark = pytest.mark.django_db(transaction=True)  # the handler closes connections


def sessions_in_memory() -> int:
    return sum(type(each) is TeleopSession for each in gc.get_objects())


def test_the_rows_of_a_list_are_freed_without_a_search_for_cycles(viewer):
    for key in ("one", "two"):
        make_session(range(2), key=key)
    token = viewer._credentials["HTTP_AUTHORIZATION"].encode()
    headers = [(b"host", b"testserver"), (b"authorization", token)]
    scope = {"type": "http", "method": "GET", "path": "/sessions", "query_string": b"", "headers": headers}
    handler = OneCallHandler()
    gc.collect()
    before = sessions_in_memory()
    gc.disable()
    try:
        response = handler._respond(scope, io.BytesIO())
        assert orjson.loads(response.content)["count"] == 2
        assert sessions_in_memory() == before
    finally:
        gc.enable()
