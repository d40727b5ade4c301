"""The counts of several workers are added up, and include those of a killed worker."""

import re
import urllib.request

from tests.chaos.environment import serving, sqlite_file
from tests.chaos.scenarios import workers
from tests.robot_socket import frame, robot_socket
from tests.services import redis, wait_until


def read(server) -> dict[str, float]:
    try:
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
            lines = re.findall(r"^(\w+(?:{[^}]*})?) (\S+)$", answer.read().decode(), re.MULTILINE)
    except OSError:  # the connection was at the worker that was killed
        return {}
    return {name: float(value) for name, value in lines}


def test_it_sums_the_metrics_of_all_workers():
    with sqlite_file() as url, redis() as channels, serving(url, "--workers", "2", redis_url=channels.url) as server:
        for number in range(8):  # the kernel chooses the worker; eight requests reach both
            with robot_socket(server, f"robot_{number}", key=None) as robot:
                robot.send(frame(0), frame(1), "nonsense")
                robot.receive_until_ack(1)
        wait_until(lambda: read(server).get("teleop_frames_committed_total") == 16, what="all counted")
        wait_until(lambda: read(server).get('teleop_refused_total{code="invalid_message"}') == 8, what="refusals")
        wait_until(lambda: read(server)["teleop_connections"] == 0, what="none is connected")
        before = workers(server)
        before[0].kill()
        wait_until(lambda: len(workers(server)) == 2 and before[0] not in workers(server), what="another worker")
        wait_until(lambda: read(server).get("teleop_frames_committed_total") == 16, what="counted as before")
        assert read(server)["teleop_group_frames_count"] >= 8
        assert read(server)["teleop_ack_lag_seconds_count"] >= 8
