from robots.tests.admin_clients import staff_admin, staff_curator, staff_outsider, staff_viewer  # noqa: F401 - fixtures
from robots.tests.api_clients import admin, anonymous, arm, curator, leg, outsider, viewer  # noqa: F401 - fixtures
from teleop.tests.webhook_receiver import receiver_fixture  # noqa: F401 - a fixture
