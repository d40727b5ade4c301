import sys
from importlib.util import find_spec

from django.core.management.base import CommandError

from robots.management.base import FormatCheckedCommand

NEEDED = {"locust": "locust", "rich": "rich", "psutil": "psutil", "websocket": "websocket-client"}


class Command(FormatCheckedCommand):
    help = (
        "How many robots does this server hold? Drives robots and API clients against a server that it starts itself, "
        "and writes report.md, report.html and results.json. Exit status 0: every run was sound; 1: one was not, or a "
        "--require was missed; 2: unusable arguments. docs/loadtest.md"
    )
    # The command asks the database of these settings for its storage format, and does not touch it otherwise.
    requires_system_checks = []
    needs_database = False

    def add_arguments(self, parser):
        from loadtest.arguments import add_arguments

        add_arguments(parser)

    def handle(self, *args, **options):
        missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
        if missing:
            raise CommandError(
                f"loadtest needs {', '.join(missing)}: pip install -r requirements-dev.txt", returncode=2
            )
        from loadtest.main import main
        from loadtest.run.processes import Unusable

        try:
            status = main(options)
        except Unusable as error:
            raise CommandError(str(error), returncode=2) from None
        sys.exit(status)
