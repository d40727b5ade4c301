"""Measure an export without cameras: `python -m tests.bench.exports --frames 1000000`.

The frames of SO-101s (6 + 6 joints, doubles with all their digits) are once one session, and once sessions of 30 s. The
export has core 0, PostgreSQL core 1; 1,000,000 frames take 700 MB. A run fails past the limits below.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg

from tests.chaos.environment import migrated
from tests.services import postgres

MOST_S, MOST_MB = 40, 400  # for 1,000,000 frames
FPS, SHORT = 60, 1800
NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
JOINTS = " || ',' || ".join(f"""'"{name}.pos":' || 100 * sin(i / 60.0::float8 + {n})""" for n, name in enumerate(NAMES))
FILL = f"""
INSERT INTO robots_robot (id, name, robot_type, status, key_hash, last_error_code, last_error_detail)
VALUES ('arm', 'Arm', 'so_follower', 'offline', '', '', '');
INSERT INTO teleop_teleopsession
    (robot_id, key, start_time, end_time, fps, frame_count, meta_info, staff_labels, holder)
SELECT 'arm', 'filled-' || n, begin, begin + (size - 1) * interval '1 second' / {FPS}, {FPS}, size,
    jsonb_build_object('task', 'Task ' || n % 5, 'success', n % 3 = 0), '[]', ''
FROM (SELECT n, size, timestamptz '2026-01-01' + n * size * interval '1.1 second' / {FPS} AS begin
    FROM (SELECT n, {{size}} AS size FROM generate_series(1, {{sessions}}) n) AS sizes) AS each;
INSERT INTO teleop_teleopframe (session_id, frame_index, timestamp, robot_id, data)
SELECT id, i, start_time + i * interval '1 second' / {FPS}, 'arm',
    ('{{{{"observation":{{{{' || {JOINTS} || '}}}},"action":{{{{' || {JOINTS} || '}}}}}}}}')::json
FROM teleop_teleopsession, generate_series(0, frame_count - 1) i ORDER BY id, i;
"""


class Run(NamedTuple):
    seconds: float
    cpu_s: float
    peak_mb: float


@contextmanager
def filled(frames: int, size: int) -> Iterator[str]:
    """Yield the URL of a database with so many frames, in sessions of `size`."""
    with postgres() as service, psycopg.connect(migrated(service.url), autocommit=True) as connection:
        for statement in FILL.format(size=size, sessions=frames // size).split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("VACUUM ANALYZE")
        service.execute("CHECKPOINT")
        yield service.url


def export(url: str, *options: str) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"DATABASE_URL": url, "SECRET_KEY": "bench", "MEDIA_ROOT": folder}
        command = [sys.executable, "manage.py", "export", str(Path(folder, "out")), *options]
        began = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        psutil.Process(process.pid).cpu_affinity([0])
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit("the export has failed")
        return Run(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--format", action="append", default=[], help="default: lerobot-v3.0")
    options = parser.parse_args()
    psutil.Process().cpu_affinity([1])  # inherited by PostgreSQL
    is_good = True
    for size in (SHORT, options.frames):
        with filled(options.frames, size) as url:
            for format_ in options.format or ["lerobot-v3.0"]:
                run = export(url, "--format", format_)
                about = f"{format_}, {options.frames // size} sessions of {size:,} frames"
                print(
                    f"{about}: {run.seconds:.1f} s, {run.cpu_s:.1f} s of CPU, at most {run.peak_mb:.0f} MB", flush=True
                )
                is_good &= run.seconds <= MOST_S * options.frames / 1e6 and run.peak_mb <= MOST_MB
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
