"""Limit a token's lifetime to TOKEN_AGE_DAYS, and to the lifetime of its person's password and account."""

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.signals import post_save, pre_save
from django.utils import timezone
from rest_framework.authtoken.models import Token

from robots import audit
from robots.api.exceptions import WrongLogin


def expiry_of(token: Token) -> datetime | None:
    return token.created + timedelta(days=settings.TOKEN_AGE_DAYS) if settings.TOKEN_AGE_DAYS else None


def is_too_old(token: Token) -> bool:
    expiry = expiry_of(token)
    return expiry is not None and expiry < timezone.now()


@transaction.atomic
def token_of(user: User, password: str) -> Token:
    """Return the user's token, or a new token if the stored one is too old.

    Raises WrongLogin if the password has changed since it was checked: the new token would outlive the old password.
    Another login may have stored a new hash of the same password meanwhile, so a different hash is checked again.
    """
    rows = User.objects.select_for_update().filter(pk=user.pk, is_active=True)
    stored = rows.values_list("password", flat=True).first()
    if stored is None or (stored != user.password and not check_password(password, stored)):
        raise WrongLogin
    token, is_new = Token.objects.get_or_create(user=user)
    if is_too_old(token):
        token.delete()
        token, is_new = Token.objects.create(user=user), True
    if is_new:
        audit.record(audit.person(user), audit.Action.ADDED, [token])
    return token


@transaction.atomic
def replace_token(user: User, with_new: bool = True) -> None:
    """Delete the user's token, and issue a new one.

    Raises WrongLogin if the password has changed since the user logged in, as in token_of.
    """
    rows = User.objects.select_for_update().filter(pk=user.pk, is_active=True)
    if rows.values_list("password", flat=True).first() != user.password:
        raise WrongLogin
    for token in Token.objects.filter(user=user):
        audit.record(audit.person(user), audit.Action.DELETED, [token])
        token.delete()
    if with_new:
        token = Token.objects.create(user=user)
        audit.record(audit.person(user), audit.Action.ADDED, [token])


def end_tokens_with_password() -> None:
    """Delete a user's token from now on when the user is saved with another password or an inactive account."""
    pre_save.connect(look_at_changes, sender=User)
    post_save.connect(end_tokens, sender=User)


def look_at_changes(sender, instance: User, raw: bool, update_fields: frozenset[str] | None, **kwargs) -> None:
    changes = update_fields is None or not update_fields.isdisjoint(("password", "is_active"))
    instance.tokens_end = not raw and changes and _is_closed_or_has_another_password(instance, update_fields)


def end_tokens(sender, instance: User, **kwargs) -> None:
    """Delete the user's tokens after the save, so that no token is made with the old password in between."""
    if instance.__dict__.pop("tokens_end", False):
        Token.objects.filter(user=instance).delete()


def _is_closed_or_has_another_password(user: User, update_fields: frozenset[str] | None) -> bool:
    if not user.is_active:
        return True
    stored = User.objects.filter(pk=user.pk).values_list("password", flat=True).first()
    if stored is None or stored == user.password:
        return False
    # A login hashes the password again if the hasher's parameters have changed; Django clears the raw text before.
    is_same_password = update_fields == {"password"} and user._password is None and user.has_usable_password()
    return not is_same_password
