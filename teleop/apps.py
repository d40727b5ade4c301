from django.apps import AppConfig


class TeleopConfig(AppConfig):
    name = "teleop"

    def ready(self) -> None:
        import teleop.checks  # noqa: F401 - registers them
