import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quiet_clients() -> Iterator[None]:
    """Each of 50 clients says that it comes back, twice a second."""
    logger = logging.getLogger("teleop_client")
    before = logger.level
    logger.setLevel(logging.CRITICAL)  # an acknowledged frame that is gone
    yield
    logger.setLevel(before)
