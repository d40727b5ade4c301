"""System checks of the settings: `manage.py check --deploy` and `manage.py doctor` show them, with these ids."""

from collections.abc import Sequence

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, Warning, register
from django.db import connections


@register(Tags.security, deploy=True)
def check_robot_auth(**_) -> list[CheckMessage]:
    if settings.ROBOT_AUTH != "open":
        return []
    where = ", on any network (ROBOT_AUTH_OPEN_ANYWHERE)" if settings.ROBOT_AUTH_OPEN_ANYWHERE else ""
    what = f"ROBOT_AUTH is open: anyone may read all data and stream{where}."
    return [Warning(what, hint="Set ROBOT_AUTH=key.", id="teleop.W101")]


@register(Tags.security, deploy=True)
def check_allowed_hosts(**_) -> list[CheckMessage]:
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    what = "ALLOWED_HOSTS is *: pages of any site may act as pages of this server."
    return [Warning(what, hint="List the names of this server.", id="teleop.W102")]


@register(Tags.security, deploy=True)
def check_trusted_proxies(**_) -> list[CheckMessage]:
    if not settings.HTTPS or settings.TRUSTED_PROXIES:
        return []
    what = "HTTPS is on and TRUSTED_PROXIES is empty: the server redirects each request to https, again and again."
    return [Info(what, hint="Set TRUSTED_PROXIES to the address of the proxy that does TLS.", id="teleop.I103")]


@register(Tags.database)
def check_encoding(databases: Sequence[str] | None = None, **_) -> list[CheckMessage]:
    """Stop `migrate` on a database that cannot store every text."""
    from teleop.monitoring.database import STORING, problem  # here, because `migrate` alone runs this check

    found = [problem(connections[alias], STORING) for alias in databases or []]
    return [
        Error(finding.what, hint=finding.cure, id=finding.id)
        for finding in found
        if finding and finding.id == "teleop.E002"
    ]
