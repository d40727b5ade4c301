"""Fixtures for servers with several workers, and for pages."""

from collections.abc import Iterator

import django
import pytest

django.setup()  # pytest reads conftest.py files before pytest-django calls setup()

from django.contrib.auth.models import User

from tests.chaos.environment import sqlite_file
from tests.services import Redis, redis
from tests.watch_connection import login


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with sqlite_file() as url:
        yield url


@pytest.fixture(scope="module")
def channels() -> Iterator[Redis]:
    with redis() as channels:
        yield channels


@pytest.fixture
def headers(transactional_db) -> dict[str, str]:
    """Return the headers of a page that an administrator has opened."""
    return login(User.objects.create_superuser("admin"))
