import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

# The cascade is the database's own too: code from before this migration deletes a session without its events.
CONSTRAINT = (
    "ALTER TABLE teleop_teleopevent ADD CONSTRAINT event_session_id_fk FOREIGN KEY (session_id) "
    "REFERENCES teleop_teleopsession (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"
)


def constrain(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(CONSTRAINT)


def permit(apps, schema_editor):
    """Give both groups the permission to view events."""
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="teleop", model="teleopevent"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type, codename="view_teleopevent", defaults={"name": "Can view teleop event"}
    )
    for group in apps.get_model("auth", "Group").objects.filter(name__in=["viewer", "curator"]):
        group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [("robots", "0002_groups"), ("teleop", "0005_job")]

    operations = [
        migrations.AddField(
            "teleopsession", "skipped_frames", models.IntegerField(db_default=0, default=0, editable=False)
        ),
        migrations.AddField(
            "teleopsession", "events_dropped", models.IntegerField(db_default=0, default=0, editable=False)
        ),
        migrations.CreateModel(
            "TeleopEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event_id", models.CharField(max_length=64)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("mark", "Mark"),
                            ("clock_step", "Clock Step"),
                            ("restart", "Restart"),
                            ("camera", "Camera"),
                        ],
                        max_length=16,
                    ),
                ),
                ("timestamp", models.DateTimeField()),
                ("detail", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "session",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="teleop.teleopsession",
                    ),
                ),
            ],
            options={"constraints": [models.UniqueConstraint(fields=("session", "event_id"), name="event_of_session")]},
        ),
        migrations.RunPython(constrain, migrations.RunPython.noop),
        migrations.RunPython(permit, migrations.RunPython.noop),
    ]
