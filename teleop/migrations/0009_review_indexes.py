from django.db import migrations, models

from robots.concurrent_index import AddIndexConcurrently


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("teleop", "0008_review")]
    operations = [
        *(
            AddIndexConcurrently("teleopsession", models.Index(fields=[*fields, "trashed_at"], name=name))
            for name, fields in (
                ("sessions_by_task", ["label_task", "label_success"]),
                ("sessions_by_success", ["label_success"]),
                ("sessions_by_operator", ["label_operator"]),
                ("sessions_by_robot", ["robot"]),
            )
        ),
        AddIndexConcurrently(
            "teleopsession",
            models.Index(fields=["trashed_at"], condition=models.Q(trashed_at__isnull=False), name="sessions_in_trash"),
        ),
    ]
