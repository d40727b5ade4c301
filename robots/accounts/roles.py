"""Roles of people. Each group of the database is a role, and so is `administrator`, a superuser."""

from django.contrib.auth.models import Group, User

ADMINISTRATOR = "administrator"
DESCRIPTIONS = {
    "viewer": "viewer: sees robots, sessions and videos",
    "curator": "curator: also labels, exports and deletes sessions",
    ADMINISTRATOR: "administrator: also manages robots and people",
}


def choices(with_administrator: bool) -> list[tuple[str, str]]:
    """Return the roles, those of the migrations first."""
    names = sorted(Group.objects.values_list("name", flat=True), key=lambda name: (name not in DESCRIPTIONS, name))
    names = sorted(names, key=lambda name: name != "viewer") + [ADMINISTRATOR] * with_administrator
    return [(name, DESCRIPTIONS.get(name, name)) for name in names]


def role_of(user: User) -> str:
    names = [ADMINISTRATOR] * user.is_superuser + sorted(group.name for group in user.groups.all())
    return ", ".join(names)
