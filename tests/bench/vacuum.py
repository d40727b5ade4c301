"""Measure the effect of autovacuum on frames: `python -m tests.bench.vacuum --frames 2000000`.

Inserts that many rows at full speed, and waits after every 100,000 until autovacuum has finished the due work: with
PostgreSQL's defaults, and with the migrations' settings, with their threshold scaled down like the table. "late" is the
second with a checkpoint between each insert and its vacuum, as with few robots. Then vacuums as PostgreSQL must once a
table is 200 million transactions old, and measures the time and the bytes written.
"""

import argparse
import os
import subprocess
import sys
import time

import psycopg

from tests.bench.fill import JOINTS
from tests.services import Postgres, postgres, wait_until

STEP = 100_000
DATA = JOINTS.replace("%", "%%")  # braces for format, not psycopg
INSERT = f"""
INSERT INTO teleop_teleopframe (session_id, frame_index, timestamp, robot_id, data)
SELECT %(step)s, i, now(), 'robot_7', format('{{"observation":{{{DATA}}},"action":{{{DATA}}}}}', i)::json
FROM generate_series(1, {STEP}) i
"""
IS_DUE = """
SELECT n_ins_since_vacuum > %s + %s * greatest(reltuples, 0) FROM pg_stat_user_tables
JOIN pg_class ON oid = relid WHERE pg_class.relname = 'teleop_teleopframe'
"""
COUNTS = "SELECT autovacuum_count, autoanalyze_count FROM pg_stat_user_tables WHERE relname = 'teleop_teleopframe'"
PAGES = """
SELECT all_frozen, relpages FROM pg_visibility_map_summary('teleop_teleopframe'), pg_class
WHERE relname = 'teleop_teleopframe'
"""


def wal_bytes(database: psycopg.Connection) -> int:
    return int(database.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()[0])


def run(service: Postgres, name: str, frames: int, threshold: int) -> None:
    url = service.create_database(name)
    env = os.environ | {"DATABASE_URL": url, "SECRET_KEY": "bench"}
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], env=env, check=True)
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("CREATE EXTENSION pg_visibility; SET session_replication_role = replica")
        if name == "defaults":
            database.execute("ALTER TABLE teleop_teleopframe RESET (autovacuum_freeze_min_age)")
            for kind in ("scale_factor", "threshold"):
                database.execute(f"ALTER TABLE teleop_teleopframe RESET (autovacuum_vacuum_insert_{kind})")
            due = (1000, 0.2)
        else:
            database.execute(f"ALTER TABLE teleop_teleopframe SET (autovacuum_vacuum_insert_threshold = {threshold})")
            due = (threshold, 0)
        before = wal_bytes(database)
        for step in range(frames // STEP):
            database.execute(INSERT, {"step": step})
            if name == "late":
                database.execute("CHECKPOINT")
            database.execute("SELECT pg_stat_force_next_flush()")
            wait_until(lambda: not database.execute(IS_DUE, due).fetchone()[0], 600, "autovacuum")
        written = wal_bytes(database) - before
        vacuums, analyzes = database.execute(COUNTS).fetchone()
        database.execute("ANALYZE teleop_teleopframe")
        frozen, pages = database.execute(PAGES).fetchone()
        database.execute("CHECKPOINT")  # so that each page's last write is long past
        began = time.monotonic()
        database.execute("SET vacuum_freeze_table_age = 0; SET vacuum_freeze_min_age = 0")
        database.execute("VACUUM teleop_teleopframe")
        took_s = time.monotonic() - began
        at_last = wal_bytes(database) - before - written
        print(
            f"{name}: {vacuums} vacuums, {analyzes} analyzes, {written / frames:.0f} bytes of WAL a frame,"
            f" {frozen / pages:.0%} of the pages frozen; then {took_s:.1f} s and {at_last / 1e6:.0f} MB of WAL",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2_000_000)
    parser.add_argument("--threshold", type=int, default=200_000)
    options = parser.parse_args()
    with postgres() as service:
        service.execute("ALTER SYSTEM SET autovacuum_naptime = 1")  # because rows arrive faster than in production
        service.execute("SELECT pg_reload_conf()")
        for name in ("defaults", "settings", "late"):
            run(service, name, options.frames, options.threshold)


if __name__ == "__main__":
    main()
