from django.apps import AppConfig


class TeleopConfig(AppConfig):
    name = "teleop"

    def ready(self) -> None:
        import teleop.checks  # noqa: F401 - registers them
        from teleop.background.kinds import register  # here, as models are ready now
        from teleop.quality.job import QUALITY

        register(QUALITY)
