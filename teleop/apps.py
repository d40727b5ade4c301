from django.apps import AppConfig


class TeleopConfig(AppConfig):
    name = "teleop"

    def ready(self) -> None:
        import teleop.checks  # noqa: F401 - registers them
        from teleop.background.kinds import register  # here, as models are ready now
        from teleop.quality.job import QUALITY
        from teleop.quality.task_ranges import TASK_RANGES
        from teleop.review.trash import TRASH
        from teleop.webhooks.job import WEBHOOK

        register(QUALITY, WEBHOOK, TASK_RANGES, TRASH)
