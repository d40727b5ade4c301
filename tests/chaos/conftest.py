import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quiet_clients() -> Iterator[None]:
    """Silence the clients: each of 50 logs twice a second that it will reconnect; the ledger has the results."""
    logger = logging.getLogger("teleop_client")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(before)
