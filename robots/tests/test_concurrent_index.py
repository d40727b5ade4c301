"""Indexes that a migration adds while the table is written to."""

import pytest
from django.db import connection, models
from django.db.migrations.state import ProjectState
from django.db.utils import IntegrityError

from robots.concurrent_index import AddIndexConcurrently
from robots.models import Robot

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

INDEX = models.Index(fields=["name"], name="robots_by_name")


def add() -> AddIndexConcurrently:
    operation = AddIndexConcurrently("robot", INDEX)
    before = ProjectState.from_apps(Robot._meta.apps)
    after = before.clone()
    operation.state_forwards("robots", after)
    with connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("robots", editor, before, after)
    return operation


@pytest.fixture
def _dropped():
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX IF EXISTS robots_by_name")


def is_valid() -> bool | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('robots_by_name')")
        row = cursor.fetchone()
    return row and row[0]


@pytest.mark.usefixtures("_dropped")
def test_an_interrupted_index_is_built_again():
    Robot.objects.bulk_create([Robot(pk="a", name="same"), Robot(pk="b", name="same")])
    with pytest.raises(IntegrityError), connection.cursor() as cursor:  # it fails and leaves an invalid index behind
        cursor.execute("CREATE UNIQUE INDEX CONCURRENTLY robots_by_name ON robots_robot (name)")
    assert is_valid() is False
    add()
    assert is_valid() is True
