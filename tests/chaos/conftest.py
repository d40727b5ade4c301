import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quiet_clients() -> Iterator[None]:
    """Each of 50 clients says twice a second that it will come back; what matters is in the ledger."""
    logger = logging.getLogger("teleop_client")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(before)
