"""One-time links with which people set their password.

Django's token is a hash of the password, the last login and the time. So a link ends when it was used, at the next
login, and after PASSWORD_RESET_TIMEOUT. Nothing is stored.
"""

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.http import HttpRequest
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

DAYS = settings.PASSWORD_RESET_TIMEOUT // 86_400


def password_link(request: HttpRequest, user: User) -> str:
    """Return the URL, on this server as the request names it."""
    place = urlsafe_base64_encode(force_bytes(user.pk)), default_token_generator.make_token(user)
    return request.build_absolute_uri(reverse("password-link", args=place))
