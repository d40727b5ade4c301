import sys
from importlib.util import find_spec

from django.core.management.base import CommandError

from robots.management.base import FormatCheckedCommand

NEEDED = {"locust": "locust", "rich": "rich", "psutil": "psutil", "websocket": "websocket-client"}


class Command(FormatCheckedCommand):
    help = (
        "Measures how many robots this server can serve. It starts a server, runs robots and API clients against it, "
        "and writes report.md, report.html and results.json. Exit status 0: all runs are sound; 1: a run is not sound, "
        "or a --require was missed; 2: invalid arguments. docs/loadtest.md explains the report."
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
                f"loadtest needs {', '.join(missing)}; run pip install -r requirements-dev.txt", returncode=2
            )
        from loadtest.main import main
        from loadtest.run.processes import Unusable

        try:
            status = main(options)
        except Unusable as error:
            raise CommandError(str(error), returncode=2) from None
        sys.exit(status)
