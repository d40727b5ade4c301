"""Fixtures for the tests of REST: an APIClient for each kind of user, and for the robots `arm` and `leg`."""

import django
import pytest

django.setup()  # pytest reads conftest.py files before pytest-django calls setup()

from django.contrib.auth.models import Group, User  # noqa: E402
from django.core.cache import cache  # noqa: E402
from rest_framework.authtoken.models import Token  # noqa: E402
from rest_framework.test import APIClient  # noqa: E402

from robots.models import Robot  # noqa: E402


class Client(APIClient):
    default_format = "json"

    def __init__(self, **options):
        super().__init__(raise_request_exception=False, **options)


def client_with(authorization: str) -> APIClient:
    client = Client()
    client.credentials(HTTP_AUTHORIZATION=authorization)
    return client


def person(name: str, group: str = "", **fields) -> APIClient:
    """Return a client that authenticates by token, as a program would."""
    user = User.objects.create_user(name, **fields)
    if group:
        user.groups.add(Group.objects.get(name=group))
    return client_with(f"Token {Token.objects.create(user=user)}")


def robot_client(robot_id: str) -> APIClient:
    return client_with(f"Bearer {Robot.objects.get_or_create(pk=robot_id)[0].issue_key()}")


@pytest.fixture
def anonymous(db) -> APIClient:
    cache.clear()
    return Client()


@pytest.fixture
def outsider(db) -> APIClient:
    """Return a client of a user with a token and no group."""
    return person("outsider")


@pytest.fixture
def viewer(db) -> APIClient:
    return person("viewer", "viewer")


@pytest.fixture
def curator(db) -> APIClient:
    return person("curator", "curator")


@pytest.fixture
def admin(db) -> APIClient:
    return person("admin", is_superuser=True)


@pytest.fixture
def arm(db) -> APIClient:
    """Return a client with the key of the robot that owns the session."""
    return robot_client("arm")


@pytest.fixture
def leg(db) -> APIClient:
    """Return a client with the key of another robot."""
    return robot_client("leg")
