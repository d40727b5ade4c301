"""Attacks by readers: odd frames and films, large lists, and many simultaneous reads or long polls."""

import http.client
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.attacks.victim import victim
from tests.bench.serving import shell
from tests.chaos.environment import postgres_database, serving
from tests.services import Server, wait_until
from videos.tests.mp4_boxes import claiming

ATTACKER = "127.0.0.2"  # another address than the victim's
ATTACK_S = 6
GIVEN_UP_S = 20
MB = 2**20
LONG_FRAMES = 500_000
ODD, LONG, PLAIN = 1, 2, 3  # sessions
ROBOT = "from robots.models import Robot; Robot.objects.create(pk='attacker')"
SESSIONS = """
    INSERT INTO teleop_teleopsession
        (id, robot_id, key, start_time, end_time, fps, frame_count, staff_labels, holder, quality, meta_info)
    SELECT n, 'attacker', 'session-' || n, now() - interval '1 day', now() - interval '12 hours', 60,
        CASE n WHEN 1 THEN 60 WHEN 2 THEN 500000 WHEN 3 THEN 100 ELSE 0 END, '[]', '',
        CASE WHEN n > 1 THEN {quality}::jsonb END,
        CASE WHEN n > 3 THEN
            jsonb_build_object('note', (SELECT string_agg(md5(n || '-' || i), '') FROM generate_series(1, 1900) AS i))
        END
    FROM generate_series(1, 1003) AS n;
    SELECT setval(pg_get_serial_sequence('teleop_teleopsession', 'id'), 1003);
"""
QUALITY = """'{"idle_share": null, "jerk": null, "fps_jitter": null, "missing_frames": 0, "duration_s": null,
    "duration_ratio": null}'"""
FRAMES = """
    INSERT INTO teleop_teleopframe (session_id, robot_id, frame_index, timestamp, data)
    SELECT {session}, 'attacker', i, to_timestamp(1767600000 + i / 60.0), {data}
    FROM generate_series(0, {count} - 1) AS i
"""
JOINTS = """('{"observation":{"shoulder_pan.pos":' || i % 997 || ',"elbow.pos":1.25,"gripper.pos":' || i % 13 || '.5},'
    '"action":{"shoulder_pan.pos":' || i % 997 || ',"elbow.pos":1.5,"gripper.pos":2.5}}')::json"""
NAMES = """(SELECT ('{"observation":{' || string_agg('"n' || i || '_' || n || '":0', ',') || '}}')::json
    FROM generate_series(1, 4501) AS n)"""

pytestmark = pytest.mark.timeout(300)


class Site(NamedTuple):
    server: Server
    url: str

    def fetch(self, path: str, body: bytes | None = None, seconds: float = 60, **headers: str) -> tuple[int, bytes]:
        """Return the status and the beginning of the body; disconnect after that many seconds, with status 0."""
        until = time.monotonic() + seconds
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, seconds, (ATTACKER, 0))
        try:
            connection.request("POST" if body else "GET", path, body, headers)
            answer = connection.getresponse()
            beginning = answer.read(1000)
            while answer.read(2**18):
                if time.monotonic() > until:
                    return 0, beginning
            return answer.status, beginning
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def attack(self, threads: int, path: str, **options: Any) -> list[int]:
        """Send requests again and again for ATTACK_S; return the statuses."""
        until = time.monotonic() + ATTACK_S

        statuses: list[int] = []

        def fetch(_) -> None:
            while time.monotonic() < until:
                statuses.append(self.fetch(path, **options)[0])

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fetch, range(threads)))
        return statuses

    def at_once(self, count: int, fetch: Callable[[int], tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(fetch, range(count)))

    def value(self, query: str) -> Any:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchone()[0]

    @contextmanager
    def growing_by(self, megabytes: int) -> Iterator[None]:
        """Check that the server's memory grows by that much at most, at any moment."""
        process = Path(f"/proc/{self.server.pid}")
        (process / "clear_refs").write_text("5")  # reset the peak of its memory
        before = self._peak(process)
        yield
        grown = (self._peak(process) - before) / 1024
        print(f"memory: {before / 1024:.0f} MB and {grown:.0f} MB more")  # noqa: T201
        assert grown <= megabytes

    def _peak(self, process: Path) -> int:
        return next(
            int(line.split()[1]) for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM")
        )


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with postgres_database() as (_, url):
        shell(ROBOT, os.environ | {"DATABASE_URL": url})
        with psycopg.connect(url) as connection:
            connection.execute(SESSIONS.format(quality=QUALITY))
            connection.execute(FRAMES.format(session=ODD, count=60, data=NAMES))
            connection.execute(FRAMES.format(session=LONG, count=LONG_FRAMES, data=JOINTS))
            connection.execute(FRAMES.format(session=PLAIN, count=100, data=JOINTS))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE teleop_teleopframe")
        with serving(url, BACKGROUND_WORK="serve") as server:
            found = Site(server, url)
            for path in ("series", "frames?format=parquet"):  # load Arrow into memory now
                assert found.fetch(f"/sessions/{PLAIN}/{path}")[0] == 200
            yield found


def test_quality_refuses_a_session_with_too_many_names(site):
    """The session has 60 frames, each with 4,501 names that no other frame has; `serve` has started its quality."""
    query = f"SELECT quality->>'error' FROM teleop_teleopsession WHERE id = {ODD}"
    reason = wait_until(lambda: site.value(query), GIVEN_UP_S, "a reason")
    assert "at most 4096 expected" in reason


def test_it_refuses_to_read_frames_with_too_many_numbers(site):
    paths = [f"/sessions/{ODD}/series", f"/sessions/{ODD}/frames?format=parquet"] * 4
    with victim(site.server) as suffered, site.growing_by(50):
        began = time.monotonic()
        answers = site.at_once(len(paths), lambda number: site.fetch(paths[number]))
        assert time.monotonic() - began < GIVEN_UP_S
    assert {status for status, _ in answers} <= {400, 429}
    assert b"numbers; at most " in answers[0][1]
    assert suffered[0].is_fine()


@pytest.mark.parametrize("tracks, pictures", [(1, 50_000_000), (50, 2_000_000)])
def test_it_refuses_videos_that_claim_millions_of_frames(site, tracks, pictures):
    fields = {"session": PLAIN, "camera_key": "front", "start_timestamp": 1767600000, "end_timestamp": 1767600001}
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    file = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    body = "\r\n".join([*parts, file]).encode() + claiming(tracks, pictures) + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with victim(site.server) as suffered, site.growing_by(50):
        began = time.monotonic()
        answers = site.at_once(8, lambda _: site.fetch("/videos", body, **headers))
        assert time.monotonic() - began < GIVEN_UP_S
    assert {status for status, _ in answers} == {400}
    assert f"it has {pictures} video frames".encode() in answers[0][1]
    assert suffered[0].is_fine()


def test_requests_for_the_yaml_schema_delay_no_robot(site):
    with victim(site.server) as suffered:
        statuses = site.attack(4, "/schema", Accept="application/yaml")
    assert set(statuses) <= {200, 429}
    assert suffered[0].is_fine()


def test_lists_of_sessions_with_large_meta_info_delay_no_robot(site):
    with victim(site.server) as suffered, site.growing_by(100):
        statuses = site.attack(4, "/sessions?robot=attacker&limit=1000")
    assert set(statuses) == {200}
    assert suffered[0].is_fine()


def test_300_long_polls_delay_no_robot(site):
    with victim(site.server) as suffered:
        live = site.value("SELECT id FROM teleop_teleopsession WHERE end_time IS NULL AND robot_id = 'victim' LIMIT 1")
        path = f"/sessions/{live}/frames?after=2000000000&wait=10"
        answers = site.at_once(300, lambda _: site.fetch(path))
    statuses = [status for status, _ in answers]
    assert set(statuses) <= {200, 429, 503, 0}
    assert 50 <= statuses.count(200) <= 100  # some were accepted after the first answers
    assert suffered[0].is_fine()


def test_20_downloads_of_a_long_session_delay_no_robot(site):
    path = f"/sessions/{LONG}/frames?format=parquet"
    with victim(site.server) as suffered, site.growing_by(150):
        answers = site.at_once(20, lambda _: site.fetch(path, seconds=10))
    assert {status for status, _ in answers} == {0, 429}  # 0: this client disconnected
    assert suffered[0].is_fine()
    wait_until(lambda: site.fetch(path, seconds=1)[0] == 0, 5, "the places of those that have left")
