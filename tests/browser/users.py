"""Users of the pages: staff with the groups that the migrations make; the cases that tests try of a page; no page."""

import os

import django
import pytest

django.setup()  # pytest reads conftest.py files before pytest-django calls setup()

from django.contrib.auth.models import Group, User  # noqa: E402

# A URL of our origin without a page. At about:blank, Chromium would start a process for the next page.
BLANK = "/static/teleop/icon.svg"


def cases(first: object, *others: object) -> list:
    """Return all cases of a parameter in `make pages`, and else the first one: a page takes a second of CPU."""
    return [first, *others] if "ALL_PAGES" in os.environ else [first]


def staff(name: str, *groups: str) -> User:
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
