from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class RobotsConfig(AppConfig):
    name = "robots"

    def ready(self) -> None:
        from robots.api.tokens import end_tokens_with_password  # here, as it imports models

        end_tokens_with_password()


class AdminConfig(admin_apps.AdminConfig):
    default = False  # "robots" in INSTALLED_APPS is RobotsConfig
    default_site = "robots.admin_tools.site.Site"
