from robots.tests.api_clients import admin, viewer  # noqa: F401 - fixtures
