"""Prepare a fresh database: `python -m loadtest.run.prepare` migrates it and prints the API clients' token."""

import os
import sys

import django
from django.core.management import call_command


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth import get_user_model
    from rest_framework.authtoken.models import Token

    user = get_user_model().objects.create_superuser("loadtest")  # no password: only the token gives access
    sys.stdout.write(Token.objects.create(user=user).key)


if __name__ == "__main__":
    main()
