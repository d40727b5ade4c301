"""Who looks at the pages: staff with the groups that the migrations make."""

from importlib import import_module

import django
import pytest
from django.apps import apps

django.setup()  # conftest.py files are read before pytest-django does it

from django.contrib.auth.models import Group, User  # noqa: E402


def staff(name: str, *groups: str) -> User:
    # A test on a real server empties all tables, what the migrations have put there too.
    import_module("robots.migrations.0002_groups").seed(apps, None)
    user = User.objects.create_user(name, is_staff=True)
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


@pytest.fixture
def admin(transactional_db: None) -> User:
    return User.objects.create_superuser("admin", password="secret of admin")


@pytest.fixture
def viewer(transactional_db: None) -> User:
    """May look at everything and change nothing."""
    return staff("viewer", "viewer")


@pytest.fixture
def curator(transactional_db: None) -> User:
    """May label sessions."""
    return staff("curator", "curator")
