"""The audit log, beginning with what the admin's own log holds. LogEntry keeps its rows, and gets no new ones."""

import django.core.serializers.json
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

BATCH_ROWS = 1000
ACTIONS = {1: "added", 2: "changed", 3: "deleted"}


def copy_log(apps, schema_editor):
    alias = schema_editor.connection.alias
    log = apps.get_model("admin", "LogEntry").objects.using(alias).select_related("user", "content_type").order_by("pk")
    entries = apps.get_model("robots", "AuditEntry").objects.using(alias)
    last = 0
    while batch := list(log.filter(pk__gt=last)[:BATCH_ROWS]):
        entries.bulk_create([copied(row, entries.model) for row in batch])
        last = batch[-1].pk


def copied(row, entry):
    model = f"{row.content_type.app_label}.{row.content_type.model}" if row.content_type else ""
    is_token = model.startswith("authtoken.")  # its text is the token
    return entry(
        at=row.action_time,
        actor_type="person",
        actor=row.user.username,
        user_id=row.user_id,
        action=ACTIONS.get(row.action_flag, "changed"),
        model="authtoken.token" if is_token else model,
        object_id=(row.object_id or "")[:200],
        object_repr="token" if is_token else row.object_repr,
        changes={"message": [None, row.change_message]} if row.change_message else {},
    )


class Migration(migrations.Migration):
    dependencies = [
        ("robots", "0003_storage_format"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                (
                    "actor_type",
                    models.CharField(
                        choices=[
                            ("person", "Person"),
                            ("robot", "Robot"),
                            ("command", "Command"),
                            ("anonymous", "Anonymous"),
                        ],
                        max_length=10,
                    ),
                ),
                ("actor", models.CharField(max_length=200)),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("added", "Added"),
                            ("changed", "Changed"),
                            ("deleted", "Deleted"),
                            ("ended", "Ended"),
                            ("disconnected", "Disconnected"),
                            ("key issued", "Key Issued"),
                            ("erased", "Erased"),
                        ],
                        max_length=20,
                    ),
                ),
                ("model", models.CharField(max_length=100)),
                ("object_id", models.CharField(max_length=200)),
                ("object_repr", models.CharField(max_length=200)),
                ("changes", models.JSONField(default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder)),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "audit entries",
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["model", "object_id"], name="audit_of_object")],
            },
        ),
        migrations.RunPython(copy_log, migrations.RunPython.noop),
    ]
