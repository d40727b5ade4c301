"""Authenticate a robot by its key, a person or program by a token, a person by the login of the pages."""

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db.models import F
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication
from rest_framework.authtoken.models import Token
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.exceptions import PermissionDenied as Forbidden

from robots.api import tokens
from robots.api.compiled import CompiledQuery
from robots.api.throttling import LoginAttempts
from robots.models import Robot
from robots.querysets import RobotDisabled

# The user of a token, by its key.
OWNER = CompiledQuery(User.objects.filter(auth_token__key="").annotate(token_created=F("auth_token__created")))


class RobotKeyAuthentication(authentication.BaseAuthentication):
    """Authentication by `Authorization: Bearer KEY`: request.auth is the Robot.

    request.user is an AnonymousUser, as a robot is in no group.
    """

    def authenticate(self, request):
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        robot = Robot.objects.with_key(key.strip())
        if robot is not None:
            if robot.disabled:
                refusal = RobotDisabled(robot.pk)
                raise Forbidden({"detail": refusal.detail, "code": refusal.code})
            return AnonymousUser(), robot
        if settings.ROBOT_AUTH == "open":  # no key is required, so a wrong key counts as none
            return None
        raise AuthenticationFailed("the key is not valid for any robot; it may have been replaced")

    def authenticate_header(self, request):
        return "Bearer"


class TokenAuthentication(authentication.TokenAuthentication):
    """Authentication by `Authorization: Token T`, with T from /auth/token."""

    def authenticate_credentials(self, key):
        # Only letters and digits are looked up: PostgreSQL raises on NUL instead of finding nothing.
        found = OWNER.fetch((key,)) if key.isalnum() else []
        if not found:
            raise AuthenticationFailed("invalid token; a token becomes invalid when its user's password changes")
        user = found[0]
        token = Token(key=key, user=user, created=user.token_created)
        if not user.is_active:
            raise AuthenticationFailed("the account of this token is inactive")
        if tokens.is_too_old(token):
            raise AuthenticationFailed(
                f"the token was issued on {token.created:%Y-%m-%d} and expired after {settings.TOKEN_AGE_DAYS} days "
                "(TOKEN_AGE_DAYS); POST /auth/token issues a new one"
            )
        return user, token


class LoginBackend(ModelBackend):
    """Password check for REST and the pages; after too many failures the password is not compared."""

    def authenticate(self, request, username=None, password=None, **kwargs):
        if request is None:  # a command, not a client
            return super().authenticate(request, username, password, **kwargs)
        attempts = LoginAttempts(request, username or "")
        if not attempts.begin():
            raise PermissionDenied
        user = super().authenticate(request, username, password, **kwargs)
        if user is not None:
            attempts.succeeded()
        return user


class RobotKeyScheme(OpenApiAuthenticationExtension):
    target_class = RobotKeyAuthentication
    name = "robotKey"

    def get_security_definition(self, auto_schema):
        return {"type": "http", "scheme": "bearer", "description": "A robot's key, from `POST /robots/{id}/key`."}


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema):
        description = "`Token TOKEN`, with the token from `POST /auth/token`."
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": description}
