"""The choice of the connection to close for a new one, and the wait of requests from a busy address."""

import pytest

from teleop.server.http_limits import Rate, WaitingConnections


def approx(seconds: float):
    return pytest.approx(seconds, abs=1e-6)


class Connection:
    is_silent = True
    is_dropped = False

    def drop(self) -> None:
        self.is_dropped = True


def test_it_closes_the_longest_waiting_connection_for_a_new_one():
    waiting = WaitingConnections(2)
    first, second, third, elsewhere = (Connection() for _ in range(4))
    added = [waiting.add("192.0.2.7", each) for each in (first, second)] + [waiting.add("192.0.2.8", elsewhere)]
    assert all(added)
    assert not waiting.add("192.0.2.7", third)
    assert [each.is_dropped for each in (first, second, third, elsewhere)] == [True, False, False, False]


def test_it_does_not_close_a_connection_with_unread_data():
    waiting = WaitingConnections(2)
    first, second, third = (Connection() for _ in range(3))
    first.is_silent = False
    for each in (first, second, third):
        waiting.add("192.0.2.7", each)
    assert [each.is_dropped for each in (first, second, third)] == [False, True, False]


def test_it_forgets_removed_connections():
    waiting = WaitingConnections(1)
    connection = Connection()
    waiting.add("192.0.2.7", connection)
    for _ in range(2):
        waiting.remove("192.0.2.7", connection)
    assert not waiting._waiting


def test_zero_is_no_limit():
    waiting, rate = WaitingConnections(0), Rate(0, burst=0)
    assert all(waiting.add("192.0.2.7", Connection()) for _ in range(100))
    rate.charge("192.0.2.7", 10**9)
    assert rate.reserve("192.0.2.7") == 0


def test_it_delays_requests_past_a_burst_and_then_refuses_them():
    now = [1000.0]
    rate = Rate(10, burst=5, clock=lambda: now[0])
    waits = [rate.reserve("192.0.2.7", max_wait_s=0.25) for _ in range(10)]
    assert waits == [*map(approx, [0, 0, 0, 0, 0, 0.1, 0.2]), None, None, None]
    assert rate.reserve("192.0.2.8") == 0
    now[0] += 0.2
    assert rate.reserve("192.0.2.7", max_wait_s=0.25) == approx(0.1)
