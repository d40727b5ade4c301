"""Sessions that a worker still has, after its process was stopped for a while."""

from types import SimpleNamespace

import pytest

from teleop.ingest.worker import Worker


@pytest.mark.parametrize(
    "holder, is_live, is_taken",
    [
        ("mine.1", True, False),
        ("another.7", True, True),
        ("", True, True),  # another worker swept the session
        ("mine.2", True, False),  # a handshake of the same worker waits until the frames are stored
        ("", False, False),  # the connection has released the session itself
    ],
)
def test_it_drops_only_frames_of_sessions_that_another_worker_took(holder, is_live, is_taken):
    connection = SimpleNamespace(holder="mine.1", is_live=is_live)
    assert Worker._is_taken(SimpleNamespace(name="mine"), connection, holder) is is_taken
