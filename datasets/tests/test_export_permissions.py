"""Permissions that tests/test_access.py does not show: those that an export needs beside its own."""

import pytest
from django.contrib.auth.models import Permission, User

from datasets.tests.export_rows import done, recorded
from robots.tests.api_clients import person

pytestmark = [pytest.mark.django_db, pytest.mark.once, pytest.mark.usefixtures("media")]
NEEDED = ["view_export", "view_teleopsession", "view_teleopframe", "view_videochunk"]


@pytest.mark.parametrize("missing", [*NEEDED, None])
def test_reading_an_export_needs_the_permission_to_read_all_that_is_in_it(missing):
    export, reader = done(), person("reader")
    names = [name for name in NEEDED if name != missing]
    User.objects.get().user_permissions.set(Permission.objects.filter(codename__in=names))
    assert reader.get(f"/exports/{export.pk}").status_code == (403 if missing else 200)


def test_open_mode_lets_anybody_read_and_nobody_create(anonymous, arm, settings):
    settings.ROBOT_AUTH = "open"
    export, session = done(), recorded("1")
    assert anonymous.get(f"/exports/{export.pk}/report").status_code == 200
    body = {"name": "cubes", "sessions": [session.pk]}
    assert [anonymous.post("/exports", body).status_code, arm.post("/exports", body).status_code] == [401, 403]
    assert anonymous.delete(f"/exports/{export.pk}").status_code == 401
