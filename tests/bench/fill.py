"""Fill the PostgreSQL of DATABASE_URL to measure pages: python -m tests.bench.fill --frames 10000000.

A tenth of the frames is one session, the rest are sessions of 30 s, all by 100 SO-101s, with labels, quality and two
cameras. PostgreSQL generates the rows itself, at 60,000 a second; 10,000,000 frames take 6 GB.
"""

import argparse
import os

import django
from django.core.management import call_command
from django.db import connection

ROBOTS, FPS, SHORT = 100, 60, 1800

FILL = """
INSERT INTO robots_robot (id, name, robot_type, status, last_heartbeat, key_hash, last_error_code, last_error_detail)
SELECT 'robot_' || n, 'Arm ' || n, 'so101', CASE n % 3 WHEN 0 THEN 'online' ELSE 'offline' END, now(), '', '', ''
FROM generate_series(1, {robots}) n;

INSERT INTO teleop_teleopsession
    (robot_id, key, start_time, end_time, fps, frame_count, meta_info, staff_labels, holder, quality)
SELECT 'robot_' || n % {robots} + 1, 'filled-' || n, begin, CASE WHEN n % 500 != 2 THEN begin + length END, {fps},
    CASE n WHEN 1 THEN {long} ELSE {short} END,
    jsonb_build_object('task', 'Task ' || n % 20, 'success', n % 3 = 0, 'tags', jsonb_build_array('tag-' || n % 50)),
    '[]', '', CASE WHEN n % 500 != 2 THEN jsonb_build_object('idle_share', n % 100 / 100.0, 'jerk', n % 1000,
        'fps_jitter', n % 20 / 100.0, 'missing_frames', n % 7, 'duration_s', 30, 'duration_ratio', 1) END
FROM (SELECT n, timestamptz '2026-01-01' + n * interval '1 minute' AS begin,
    CASE n WHEN 1 THEN {long} ELSE {short} END * interval '1 second' / {fps} AS length
    FROM generate_series(1, {sessions}) n) AS each;

INSERT INTO teleop_teleopframe (session_id, frame_index, timestamp, robot_id, data)
SELECT id, i, start_time + i * interval '1 second' / {fps}, robot_id, format('{{"observation":{{{joints}}},"action":'
    '{{{joints}}}}}', i)::json
FROM teleop_teleopsession, generate_series(0, frame_count - 1) i ORDER BY id, i;

INSERT INTO videos_videochunk
    (session_id, robot_id, camera_key, file_path, start_timestamp, end_timestamp, size, sha256)
SELECT id, robot_id, camera, 'videos/none.mp4', epoch + 10 * n, epoch + 10 * n + 10, 1000000, ''
FROM (SELECT *, extract(epoch FROM start_time) AS epoch FROM teleop_teleopsession) AS each,
    unnest(ARRAY['front', 'wrist']) camera, generate_series(0, 2) n;
"""
NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
JOINTS = ",".join(f'"{joint}.pos":%1$s.25' for joint in NAMES)


def fill(frames: int, long: int) -> None:
    call_command("migrate", verbosity=0)
    sizes = {"robots": ROBOTS, "fps": FPS, "short": SHORT, "long": long, "sessions": 1 + (frames - long) // SHORT}
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # skip the foreign-key check of each row
        for statement in FILL.format(joints=JOINTS, **sizes).split(";\n"):
            cursor.execute(statement)
        cursor.execute("RESET session_replication_role")
        cursor.execute("VACUUM ANALYZE")
    print(f"{frames:,} frames in {sizes['sessions']:,} sessions")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000_000)
    parser.add_argument("--long", type=int, help="of these, in one session (default: a tenth)")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("SECRET_KEY", "bench")
    django.setup()
    fill(options.frames, options.frames // 10 if options.long is None else options.long)
