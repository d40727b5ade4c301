import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("teleop", "0006_events")]

    operations = [
        migrations.CreateModel(
            "DeletedSession",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("robot_id", models.CharField(max_length=64)),
                ("key", models.CharField(max_length=64)),
                ("deleted_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("robot_id", "key"), name="deleted_key_of_robot"),
                ],
            },
        ),
    ]
