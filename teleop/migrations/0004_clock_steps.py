from django.db import migrations, models
from django.db.models import F


def turn_around(apps, schema_editor):
    """Sessions whose clock stepped back ended before they began. Their quality is computed again, and finds the step."""
    sessions = apps.get_model("teleop", "TeleopSession").objects.using(schema_editor.connection.alias)
    reversed_sessions = sessions.filter(end_time__lt=F("start_time"))
    reversed_sessions.update(start_time=F("end_time"), end_time=F("start_time"), quality=None)


class Migration(migrations.Migration):
    dependencies = [("teleop", "0003_frames_frozen_early")]
    operations = [
        migrations.AddField("teleopsession", "clock_steps", models.JSONField(blank=True, editable=False, null=True)),
        migrations.AddField(
            "teleopsession", "steady_duration", models.DurationField(blank=True, editable=False, null=True)
        ),
        migrations.RunPython(turn_around, migrations.RunPython.noop),
    ]
