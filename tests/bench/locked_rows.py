"""Scenarios in which the database cannot take the rows of one robot or session, while others stream."""

import asyncio
import time
from functools import partial

import psycopg

from tests.bench import load
from tests.bench.scenarios import SETTLE_S, Figures, Meter, begin_sessions, incomplete, robots_of, streaming
from tests.bench.serving import Site

LOCKS = {
    "robot row": "UPDATE robots_robot SET name = 'locked' WHERE id = '{robot_id}'",
    "session row NO KEY": "SELECT 1 FROM teleop_teleopsession WHERE id = {session_id} FOR NO KEY UPDATE",
    "session row FOR UPDATE": "SELECT 1 FROM teleop_teleopsession WHERE id = {session_id} FOR UPDATE",
    "session row deleted": "DELETE FROM teleop_teleopsession WHERE id = {session_id}",
}
# The trigger fails with lock_not_available for the sessions in a table, so that both turns have the same trigger.
PARK = """
CREATE TABLE bench_parked (session_id integer);
CREATE FUNCTION bench_fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT 1 FROM bench_parked WHERE session_id = NEW.session_id) THEN
        RAISE EXCEPTION 'this session waits' USING ERRCODE = '55P03';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER bench_fail BEFORE INSERT ON teleop_teleopframe
    FOR EACH ROW WHEN (NEW.session_id = {session_id}) EXECUTE FUNCTION bench_fail();
"""


async def hold_locks(site: Site, seconds: int, robots: int = 100) -> Figures:
    """Lock one row after the other for `seconds` while robots stream; each lock has a robot of its own."""
    fleet = robots_of(site, "robot", robots)
    await load.connect_all(fleet, site.port)
    begin_sessions(fleet)
    windows = {}
    async with streaming(fleet):
        await asyncio.sleep(SETTLE_S)
        for robot, (name, statement) in zip(fleet, LOCKS.items(), strict=False):
            meter, began = Meter(site), time.perf_counter()
            async with await psycopg.AsyncConnection.connect(site.url) as database:
                await database.execute(statement.format(robot_id=robot.robot_id, session_id=robot.session_id))
                await asyncio.sleep(seconds)
                await database.rollback()
            await asyncio.sleep(SETTLE_S)
            windows[name] = (robot, began, time.perf_counter(), meter.read())
            await asyncio.sleep(1)  # frames of this window are acknowledged before the next lock
    result = {}
    for name, (blocked, began, until, used) in windows.items():
        others = [robot for robot in fleet if robot is not blocked]
        all_figures, figures = load.figures(fleet, began, until), load.figures(others, began, until)
        result[name] = {
            "max_ms": all_figures["max_ms"],
            "others_max_ms": figures["max_ms"],
            "others_p99_ms": figures["p99_ms"],
            "late_p99_ms": figures["late_p99_ms"],
            "disconnects": all_figures["disconnects"],
            "blocked_incomplete": await incomplete(site, [blocked]),
            "others_incomplete": await incomplete(site, others),
            **used,
        }
    await load.hang_up(fleet)
    return result


async def park_one(site: Site, seconds: int, robots: int = 100) -> Figures:
    """Stream without and then with one session of which the database cannot take the rows for `seconds`."""
    fleet = robots_of(site, "robot", robots)
    await load.connect_all(fleet, site.port)
    begin_sessions(fleet)
    parked, others = fleet[0], fleet[1:]
    execute = partial(asyncio.to_thread, change, site)
    await execute(PARK.format(session_id=parked.session_id))
    async with streaming(fleet):
        await asyncio.sleep(SETTLE_S)
        meter, began = Meter(site), time.perf_counter()
        await asyncio.sleep(seconds)
        middle = time.perf_counter()
        await execute(f"INSERT INTO bench_parked VALUES ({parked.session_id})")
        await asyncio.sleep(seconds)
        until = time.perf_counter()
        await execute("DELETE FROM bench_parked")
        await load.until_acked([parked], seconds + 30)
        caught_up = time.perf_counter()
        used = meter.read()
    without, with_it = load.figures(others, began, middle), load.figures(others, middle, until)
    result = {
        "without_p95_ms": without["p95_ms"],
        "with_p95_ms": with_it["p95_ms"],
        "x_without": round(with_it["p95_ms"] / without["p95_ms"], 2),
        "without_p99_ms": without["p99_ms"],
        "with_p99_ms": with_it["p99_ms"],
        "with_max_ms": with_it["max_ms"],
        "disconnects": with_it["disconnects"] + parked.disconnects,
        "parked_incomplete": await incomplete(site, [parked]),
        "others_incomplete": await incomplete(site, others),
        "caught_up_s": round(caught_up - until, 1),
        "late_p99_ms": with_it["late_p99_ms"],
        **used,
    }
    await load.hang_up(fleet)
    return {"": result}


def change(site: Site, statement: str) -> None:
    with psycopg.connect(site.url, autocommit=True) as database:
        database.execute(statement)
