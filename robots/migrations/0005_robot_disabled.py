"""The column `disabled`, with a default in the database for servers that do not know it, and the proxy ApiToken."""

import django.core.validators
from django.db import migrations, models

WRONG_ID = (
    'id is "%(value).80s"; 1 to 64 of the characters a-z, A-Z, 0-9, "_", "." and "-" expected, '
    "the first a letter or digit"
)
ACTIONS = ["added", "changed", "deleted", "ended", "disconnected", "key issued", "link issued", "erased"]


class Migration(migrations.Migration):
    dependencies = [
        ("authtoken", "0004_alter_tokenproxy_options"),
        ("robots", "0004_auditentry"),
    ]

    operations = [
        migrations.AddField(
            "robot",
            "disabled",
            models.BooleanField(
                db_default=False, default=False, help_text="A disabled robot cannot connect; its sessions stay."
            ),
        ),
        migrations.CreateModel(
            "ApiToken",
            fields=[],
            options={
                "verbose_name": "API token",
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("authtoken.tokenproxy",),
        ),
        # Of these fields only Python changes.
        migrations.AlterField(
            "auditentry",
            "action",
            models.CharField(choices=[(action, action.title()) for action in ACTIONS], max_length=20),
        ),
        migrations.AlterField(
            "robot",
            "id",
            models.CharField(
                max_length=64,
                primary_key=True,
                serialize=False,
                validators=[django.core.validators.RegexValidator("\\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\\Z", WRONG_ID)],
            ),
        ),
    ]
