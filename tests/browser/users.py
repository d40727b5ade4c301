"""Users of the pages: staff with the groups that the migrations make."""

from importlib import import_module

import django
import pytest
from django.apps import apps

django.setup()  # pytest reads conftest.py files before pytest-django calls setup()

from django.contrib.auth.models import Group, User  # noqa: E402


def staff(name: str, *groups: str) -> User:
    # A test on a real server empties all tables, including the groups that the migrations added.
    import_module("robots.migrations.0002_groups").seed(apps, None)
    user = User.objects.create_user(name, is_staff=True)
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


@pytest.fixture
def admin(transactional_db: None) -> User:
    return User.objects.create_superuser("admin", password="secret of admin")


@pytest.fixture
def viewer(transactional_db: None) -> User:
    """Return a user with permission to look at everything and change nothing."""
    return staff("viewer", "viewer")


@pytest.fixture
def curator(transactional_db: None) -> User:
    """Return a user with permission to label sessions."""
    return staff("curator", "curator")
