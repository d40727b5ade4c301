import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import teleop.webhooks.signature
import teleop.webhooks.target


class Migration(migrations.Migration):
    dependencies = [
        ("teleop", "0009_review_indexes"),
    ]

    operations = [
        migrations.CreateModel(
            name="Webhook",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                (
                    "url",
                    models.CharField(max_length=500, validators=[teleop.webhooks.target.check_url], verbose_name="URL"),
                ),
                (
                    "secret",
                    models.CharField(
                        default=teleop.webhooks.signature.new_secret,
                        max_length=100,
                        validators=[teleop.webhooks.signature.check_secret],
                    ),
                ),
                ("is_enabled", models.BooleanField(db_default=True, default=True, verbose_name="enabled")),
                ("failures", models.PositiveIntegerField(db_default=0, default=0, editable=False)),
                (
                    "resumes_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("last_attempt_at", models.DateTimeField(editable=False, null=True)),
                ("last_result", models.TextField(db_default="", default="", editable=False)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AnnouncedStatus",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "status",
                    models.CharField(
                        choices=[("online", "Online"), ("offline", "Offline"), ("error", "Error")], max_length=10
                    ),
                ),
                ("noted_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "robot",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="robots.robot",
                    ),
                ),
                (
                    "webhook",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="announced_statuses",
                        to="teleop.webhook",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [models.UniqueConstraint(fields=("webhook", "robot"), name="announced_status_of_robot")],
            },
        ),
        migrations.CreateModel(
            name="WebhookDelivery",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("message_id", models.UUIDField(default=uuid.uuid4, unique=True)),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("session.ended", "session.ended"),
                            ("robot.error", "robot.error"),
                            ("robot.offline", "robot.offline"),
                            ("test", "test"),
                        ],
                        max_length=20,
                    ),
                ),
                ("about", models.CharField(max_length=100)),
                ("body", models.TextField()),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "pending"), ("delivered", "delivered"), ("failed", "failed")],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(db_default=0, default=0)),
                ("next_attempt_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("attempted_at", models.DateTimeField(null=True)),
                ("status_code", models.PositiveIntegerField(null=True)),
                ("error", models.TextField(db_default="", default="")),
                ("answer", models.TextField(db_default="", default="")),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "webhook",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="teleop.webhook",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "webhook deliveries",
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["webhook", "created_at"], name="deliveries_of_webhook"),
                    models.Index(
                        condition=models.Q(("state", "pending")),
                        fields=["webhook", "next_attempt_at"],
                        name="deliveries_pending",
                    ),
                ],
            },
        ),
    ]
