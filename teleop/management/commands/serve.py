from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Runs the server: Daphne on uvloop."

    def add_arguments(self, parser):
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args, host, port, **options):
        from teleop.server import Server  # here, as importing it chooses the event loop of the process

        from config.asgi import application

        server = Server(application, host, port, ready=lambda: self.stdout.write(f"serving on http://{host}:{port}"))
        server.run()
        raise SystemExit(server.exit_code)
