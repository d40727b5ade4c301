"""The number of the storage format. Code of before knows nothing of this table, and runs on as it did."""

from django.core.management.base import CommandError
from django.db import migrations, models


def store_number(apps, schema_editor):
    StorageFormat = apps.get_model("robots", "StorageFormat")
    StorageFormat.objects.using(schema_editor.connection.alias).create(pk=1, number=1)


def keep_later_number(apps, schema_editor):
    """Refuse to drop a number that later code has written: nothing else tells older code what is stored."""
    StorageFormat = apps.get_model("robots", "StorageFormat")
    if later := StorageFormat.objects.using(schema_editor.connection.alias).filter(number__gt=1).first():
        raise CommandError(
            f"the database has storage format {later.number}; only format 1 can do without its number (docs/deploy.md)"
        )


class Migration(migrations.Migration):
    dependencies = [("robots", "0002_groups")]

    operations = [
        migrations.CreateModel(
            name="StorageFormat",
            fields=[
                ("id", models.SmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ("number", models.IntegerField(db_default=1)),
            ],
            options={
                "default_permissions": (),
                "constraints": [models.CheckConstraint(condition=models.Q(("pk", 1)), name="one_storage_format")],
            },
        ),
        migrations.RunPython(store_number, keep_later_number),  # the row goes with its table
    ]
