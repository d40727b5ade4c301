import pytest

from robots.tests.admin_clients import staff_admin, staff_curator, staff_outsider, staff_viewer  # noqa: F401 - fixtures
from robots.tests.api_clients import admin, anonymous, arm, curator, leg, outsider, viewer  # noqa: F401 - fixtures
from teleop.tests.webhook_receiver import receiver_fixture  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def _health_lets_go():
    """Close /health's own connection, which would keep PostgreSQL from dropping the tests' database."""
    from teleop.monitoring.health import database_connection

    yield
    if database_connection.cache_info().currsize:
        database_connection().close()
        database_connection.cache_clear()
