"""The groups `viewer` and `curator`.

Django makes permissions only after all migrations have run, so those that are needed here are made here; Django finds
them then. The content types are named, not imported: the groups reach over all apps.
"""

from django.db import migrations

MODELS = [
    ("robots", "robot"),
    ("teleop", "teleopsession"),
    ("teleop", "teleopframe"),
    ("videos", "videochunk"),
]
VIEWER = [(app, model, "view") for app, model in MODELS]
CURATOR = [
    *VIEWER,
    ("teleop", "teleopsession", "change"),
    ("teleop", "teleopsession", "delete"),
    ("videos", "videochunk", "delete"),  # a session goes with its videos
]
VERBOSE_NAMES = {
    "robot": "robot",
    "teleopsession": "teleop session",
    "teleopframe": "teleop frame",
    "videochunk": "video chunk",
}


def seed(apps, schema_editor):
    ContentType = apps.get_model("contenttypes", "ContentType")
    Permission = apps.get_model("auth", "Permission")
    Group = apps.get_model("auth", "Group")
    for name, permissions in (("viewer", VIEWER), ("curator", CURATOR)):
        group, _ = Group.objects.get_or_create(name=name)
        for app, model, action in permissions:
            content_type, _ = ContentType.objects.get_or_create(app_label=app, model=model)
            permission, _ = Permission.objects.get_or_create(
                content_type=content_type,
                codename=f"{action}_{model}",
                defaults={"name": f"Can {action} {VERBOSE_NAMES[model]}"},
            )
            group.permissions.add(permission)


def remove(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=["viewer", "curator"]).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("robots", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(seed, remove)]
