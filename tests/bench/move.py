"""Time the move from SQLite to PostgreSQL: `python -m tests.bench.move --frames 1000000`.

Fills a file with sessions of 100 robots and times `manage.py move_to`, which copies and compares all rows; fails from
60 s on. 1,000,000 frames take 600 MB in either database.
"""

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from tests.services import postgres

ROBOTS, FPS, LENGTH = 100, 60, 1800
LENGTH_S = timedelta(seconds=LENGTH / FPS)
MOST_S = 60
T0 = datetime(2026, 1, 1)  # noqa: DTZ001 - as Django's SQLite has it: UTC, and no zone
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


def frames(sessions: int) -> Iterator[tuple]:
    for session_id in range(1, sessions + 1):
        for index in range(LENGTH):
            joints = ",".join(f'"{joint}.pos":{index * 0.0123456789 + session_id}' for joint in JOINTS)
            at = T0 + timedelta(minutes=session_id, seconds=index / FPS)
            data = f'{{"observation":{{{joints}}},"action":{{{joints}}}}}'
            yield session_id, index, str(at), f"robot_{session_id % ROBOTS}", data


def fill(file: Path, sessions: int) -> None:
    robots = [(f"robot_{number}",) for number in range(ROBOTS)]
    begins = [T0 + timedelta(minutes=number) for number in range(1, sessions + 1)]
    recorded = [
        (number, f"robot_{number % ROBOTS}", f"filled-{number}", str(begin), str(begin + LENGTH_S), LENGTH)
        for number, begin in enumerate(begins, 1)
    ]
    with closing(sqlite3.connect(file)) as database, database:
        database.executemany(
            "INSERT INTO robots_robot (id, status, key_hash, last_error_code, last_error_detail)"
            " VALUES (?, 'offline', '', '', '')",
            robots,
        )
        database.executemany(
            "INSERT INTO teleop_teleopsession"
            " (id, robot_id, key, start_time, end_time, frame_count, fps, staff_labels, holder)"
            " VALUES (?, ?, ?, ?, ?, ?, 60, '[]', '')",
            recorded,
        )
        database.executemany(
            "INSERT INTO teleop_teleopframe (session_id, frame_index, timestamp, robot_id, data)"
            " VALUES (?, ?, ?, ?, ?)",
            frames(sessions),
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    sessions = -(-parser.parse_args().frames // LENGTH)
    manage = [sys.executable, "manage.py"]
    with tempfile.TemporaryDirectory() as folder, postgres() as service:
        file = Path(folder, "db.sqlite3")
        env = os.environ | {"DATABASE_URL": f"sqlite:///{file}", "SECRET_KEY": "bench", "REDIS_URL": ""}
        subprocess.run([*manage, "migrate", "--verbosity", "0"], env=env, check=True)
        fill(file, sessions)
        began = time.monotonic()
        subprocess.run([*manage, "move_to", service.url], env=env, check=True)
        took_s = time.monotonic() - began
    print(f"\n{sessions * LENGTH:,} frames moved and compared in {took_s:.1f} s")
    return int(took_s >= MOST_S)


if __name__ == "__main__":
    sys.exit(main())
