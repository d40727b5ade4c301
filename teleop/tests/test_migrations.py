from importlib import import_module

import pytest
from django.db import connection

frozen_early = import_module("teleop.migrations.0003_frames_frozen_early")


def options() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(reloptions, '{}') FROM pg_class WHERE relname = 'teleop_teleopframe'")
        return set(cursor.fetchone()[0])


@pytest.mark.postgresql
@pytest.mark.django_db
def test_it_sets_and_resets_the_freeze_settings_of_the_frame_table():
    told = {f"{name}={value}" for name, value in frozen_early.SETTINGS.items()}
    assert options() == told
    with connection.schema_editor() as editor:
        frozen_early.reset_them(None, editor)
        assert options() == set()
        frozen_early.set_them(None, editor)
    assert options() == told
