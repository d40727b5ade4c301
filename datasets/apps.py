from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    name = "datasets"

    def ready(self) -> None:
        from datasets.background import EXPORT  # here, as models are ready now
        from teleop.background.kinds import register

        register(EXPORT)
