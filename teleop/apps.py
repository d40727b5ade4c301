from django.apps import AppConfig


class TeleopConfig(AppConfig):
    name = "teleop"
