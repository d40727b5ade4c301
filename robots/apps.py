from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class RobotsConfig(AppConfig):
    name = "robots"

    def ready(self) -> None:
        from robots.api import tokens  # noqa: F401 - it connects to signals of models


class AdminConfig(admin_apps.AdminConfig):
    default = False  # "robots" in INSTALLED_APPS is RobotsConfig
    default_site = "robots.admin_tools.site.Site"
