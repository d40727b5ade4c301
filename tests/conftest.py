"""Fixtures for servers with several workers."""

from collections.abc import Iterator

import pytest

from tests.chaos.environment import sqlite_file
from tests.services import Redis, redis


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with sqlite_file() as url:
        yield url


@pytest.fixture(scope="module")
def channels() -> Iterator[Redis]:
    with redis() as channels:
        yield channels
