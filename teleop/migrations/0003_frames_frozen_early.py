from django.db import migrations

# Frames are inserted and never changed. By PostgreSQL's defaults they are vacuumed when a fifth of the table is new,
# and none is frozen before 50 million transactions: all that is older than that is then read and written again at once.
# So it is done by portions of a size that does not grow with the table, and once (docs/deploy.md).
SETTINGS = {
    "autovacuum_vacuum_insert_scale_factor": 0,
    "autovacuum_vacuum_insert_threshold": 1_000_000,
    "autovacuum_freeze_min_age": 0,
}


def set_them(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        settings = ", ".join(f"{name} = {value}" for name, value in SETTINGS.items())
        schema_editor.execute(f"ALTER TABLE teleop_teleopframe SET ({settings})")


def reset_them(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE teleop_teleopframe RESET ({', '.join(SETTINGS)})")


class Migration(migrations.Migration):
    dependencies = [("teleop", "0002_quality")]
    operations = [migrations.RunPython(set_them, reset_them)]
