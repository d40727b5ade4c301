"""Fixtures for the tests of the admin: a logged-in client for each kind of user."""

import pytest
from django.test import Client

from tests.browser.users import User, staff


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def staff_viewer(db) -> Client:
    """Return a client of staff with permission to view everything and change nothing."""
    return client_of(staff("viewer", "viewer"))


@pytest.fixture
def staff_curator(db) -> Client:
    return client_of(staff("curator", "curator"))


@pytest.fixture
def staff_admin(db) -> Client:
    return client_of(User.objects.create_superuser("admin"))


@pytest.fixture
def staff_outsider(db) -> Client:
    """Return a client of staff without a group."""
    return client_of(staff("outsider"))


def shown(answer) -> str:
    assert answer.status_code == 200, answer
    return answer.content.decode()
