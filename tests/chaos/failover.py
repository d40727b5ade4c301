"""Lose a primary while its standby is in step, or behind: acknowledged frames must be on the standby."""

from collections.abc import Callable

from tests.chaos.fleet import Fleet
from tests.chaos.scenarios import DELAYED_FRAMES, holds_for, wait_until_settled
from tests.services import Postgres, Server, wait_until
from tests.standby import Standby

PAST_TIMEOUTS_S = 12  # the server answers a handshake within 10 s
CANCEL_WAITS = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
COUNT_FRAMES = "SELECT count(*) FROM teleop_teleopframe"


def fail_over(fleet: Fleet, primary: Postgres, standby: Standby) -> None:
    wait_until_settled(fleet)
    primary.kill()
    standby.promote()
    wait_until_settled(fleet)


def lose_unreplicated_rows(fleet: Fleet, server: Server, primary: Postgres, standby: Standby) -> None:
    """Restart the primary while its standby is down: rows that waited for the standby are then visible.

    No ack or greeting may count these rows, neither from the server that stored them nor from a new server that finds
    them: the rows are lost when the standby is promoted.
    """
    promises_nothing = _without_standby(fleet, standby)
    primary.kill()
    primary.start()
    promised = sum(robot.record.acked_through + 1 for robot in fleet.robots)
    assert primary.fetch_value(COUNT_FRAMES) > promised, "no row is visible that was not replicated"
    holds_for(PAST_TIMEOUTS_S, promises_nothing, "nothing is promised by the server that stored the rows")
    server.kill()
    server.start()
    holds_for(PAST_TIMEOUTS_S, promises_nothing, "nothing is promised by a new server")
    _promote_in_place_of(primary, standby)
    wait_until_settled(fleet)


def cancel_waits(fleet: Fleet, primary: Postgres, standby: Standby) -> None:
    """Cancel each wait for the standby: PostgreSQL then reports the commit as done, with a warning."""
    promises_nothing = _without_standby(fleet, standby)

    def still_promises_nothing() -> bool:
        primary.execute(CANCEL_WAITS)
        return promises_nothing()

    holds_for(PAST_TIMEOUTS_S, still_promises_nothing, "nothing is promised by a commit whose wait was cancelled")
    _promote_in_place_of(primary, standby)
    wait_until_settled(fleet)


def _without_standby(fleet: Fleet, standby: Standby) -> Callable[[], bool]:
    """Stop the standby, wait until acks have stopped, and return a check that no ack came since."""
    wait_until_settled(fleet)
    standby.stop()
    wait_until(lambda: all(robot.waiting > DELAYED_FRAMES for robot in fleet.robots), what="commits wait")
    records = [(robot.record, robot.record.acked_through) for robot in fleet.robots]
    return lambda: all(record.acked_through == acked for record, acked in records)


def _promote_in_place_of(primary: Postgres, standby: Standby) -> None:
    primary.kill()  # first, or the standby would catch up
    standby.start()
    standby.promote()
