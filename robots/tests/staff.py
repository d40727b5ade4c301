"""Who looks at the admin, in the tests: a client for each, logged in."""

import pytest
from django.test import Client

from tests.browser.people import User, staff


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def staff_viewer(db) -> Client:
    """May look at everything and change nothing."""
    return client_of(staff("viewer", "viewer"))


@pytest.fixture
def staff_curator(db) -> Client:
    return client_of(staff("curator", "curator"))


@pytest.fixture
def staff_admin(db) -> Client:
    return client_of(User.objects.create_superuser("admin"))


@pytest.fixture
def staff_outsider(db) -> Client:
    """Is staff, and in no group."""
    return client_of(staff("outsider"))


def shown(answer) -> str:
    assert answer.status_code == 200, answer
    return answer.content.decode()
