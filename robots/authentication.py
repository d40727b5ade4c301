"""Who asks: a robot by its key, a person or program by a token, a person by the login of the pages."""

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed

from robots.models import Robot
from robots.throttling import LoginAttempts


class RobotKeyAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer KEY`: request.auth is the Robot; request.user is nobody, as a robot is in no group."""

    def authenticate(self, request):
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        robot = Robot.objects.with_key(key.strip())
        if robot is not None:
            return AnonymousUser(), robot
        if settings.ROBOT_AUTH == "open":  # no key is asked for, so a wrong one counts as none
            return None
        raise AuthenticationFailed("the key is no robot's; it may have been replaced")

    def authenticate_header(self, request):
        return "Bearer"


class TokenAuthentication(authentication.TokenAuthentication):
    """`Authorization: Token T`, as /auth/token gives it."""

    def authenticate_credentials(self, key):
        if not key.isalnum():  # PostgreSQL raises on NUL instead of finding nothing
            raise AuthenticationFailed("the token is not one of ours")
        return super().authenticate_credentials(key)


class LoginBackend(ModelBackend):
    """Passwords, for REST and the pages alike: who failed too often is not even looked at."""

    def authenticate(self, request, username=None, password=None, **kwargs):
        if request is None:  # a command, not a stranger
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
        description = "`Token T`, with T from `POST /auth/token`."
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": description}
