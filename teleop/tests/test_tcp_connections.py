"""New connections begin a few at a time, so that a burst of them does not hold up the event loop."""

from collections.abc import Callable

import pytest

from teleop.server.tcp_connections import NEW_PER_TURN, NewConnections


class Loop:
    """Event loop that runs the calls requested in one turn in the next turn."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def loop() -> Loop:
    return Loop()


def begun_by_turn(loop: Loop, begun: list[int]) -> list[int]:
    """Return the number of begun connections after each turn, until no calls are left."""
    counts = []
    while loop.calls:
        loop.turn()
        counts.append(len(begun))
    return counts


def test_it_starts_a_few_connections_per_iteration_in_order(loop: Loop):
    connections, begun = NewConnections(loop.call_soon), []
    for number in range(10):
        connections.add(lambda number=number: begun.append(number))
    counts = begun_by_turn(loop, begun)
    assert begun == list(range(10))
    assert max(after - before for before, after in zip([0, *counts], counts, strict=False)) == NEW_PER_TURN


def test_it_starts_connections_added_while_others_wait_and_later(loop: Loop):
    connections, begun = NewConnections(loop.call_soon), []
    for number in range(6):
        connections.add(lambda number=number: begun.append(number))
    loop.turn()
    connections.add(lambda: begun.append(6))
    begun_by_turn(loop, begun)
    connections.add(lambda: begun.append(7))
    begun_by_turn(loop, begun)
    assert begun == list(range(8))


def test_it_starts_the_others_if_one_fails(loop: Loop):
    connections, begun = NewConnections(loop.call_soon), []
    connections.add(lambda: begun[0])
    connections.add(lambda: begun.append(1))
    loop.turn()
    failing, *others = loop.calls
    with pytest.raises(IndexError):
        failing()
    for call in others:
        call()
    assert begun == [1]
