from robots.tests.people import admin, anonymous, arm, curator, leg, outsider, viewer  # noqa: F401 - fixtures
from robots.tests.staff import staff_admin, staff_curator, staff_outsider, staff_viewer  # noqa: F401 - fixtures
from videos.tests.films import media  # noqa: F401 - a fixture
