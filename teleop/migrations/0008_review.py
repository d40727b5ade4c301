import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

from teleop.generated_columns import AddGeneratedFields
from teleop.label_columns import LabelBoolean, LabelList, LabelText


def generated(expression, output_field):
    return models.GeneratedField(expression=expression, output_field=output_field, db_persist=True, null=True)


def note_tasks(apps, schema_editor):
    """Have the usual ranges of all tasks computed."""
    alias = schema_editor.connection.alias
    sessions = apps.get_model("teleop", "TeleopSession").objects.using(alias).exclude(label_task=None)
    model = apps.get_model("teleop", "TaskRange")
    rows = (model(task=task) for task in sessions.order_by().values_list("label_task", flat=True).distinct())
    model.objects.using(alias).bulk_create(rows, batch_size=500)


class Migration(migrations.Migration):
    dependencies = [("teleop", "0007_deleted_session"), migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.AddField("teleopsession", "sparkline", models.BinaryField(null=True)),
        migrations.AddField(
            "teleopsession", "trashed_at", models.DateTimeField(blank=True, editable=False, null=True)
        ),
        AddGeneratedFields(
            "teleopsession",
            {
                "label_task": generated(LabelText("task"), models.CharField(max_length=500)),
                "label_success": generated(LabelBoolean("success"), models.BooleanField()),
                "label_operator": generated(LabelText("operator"), models.CharField(max_length=500)),
                "label_tags": generated(LabelList("tags"), models.JSONField()),
            },
        ),
        migrations.CreateModel(
            "TaskRange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("task", models.CharField(max_length=500, unique=True)),
                ("ranges", models.JSONField(default=dict)),
                ("sessions", models.IntegerField(db_default=0, default=0)),
                ("updated_at", models.DateTimeField(null=True)),
                ("changes", models.IntegerField(db_default=1, default=1)),
                ("computed", models.IntegerField(db_default=0, default=0)),
            ],
            options={"default_permissions": ()},
        ),
        migrations.RunPython(note_tasks, migrations.RunPython.noop),
        migrations.CreateModel(
            "SavedFilter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                ("query", models.CharField(blank=True, max_length=4000)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("user", "name"), name="saved_filter_of_user"),
                ],
            },
        ),
    ]
