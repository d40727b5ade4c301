"""Check that the server at --host can be load-tested, before sending load to it."""

import json
import urllib.error
import urllib.request

import websocket

from loadtest.run.plan import Options
from loadtest.run.processes import Unusable

TIMEOUT_S = 5


def check_host(options: Options) -> None:
    """Check the server. Raises Unusable."""
    if not options.host:
        return
    try:
        with urllib.request.urlopen(f"{options.host}/health", timeout=TIMEOUT_S) as response:  # nosec B310 # http or https: arguments.py
            health = json.loads(response.read())
    except urllib.error.HTTPError as error:
        raise Unusable(f"--host {options.host}: /health returned {error.code}; a healthy server expected") from None
    except ValueError:
        health = None
    except OSError as error:
        raise Unusable(f"--host {options.host} does not answer: {getattr(error, 'reason', error)}") from None
    if not isinstance(health, dict) or not {"version", "writer"} <= health.keys():
        raise Unusable(f"--host {options.host} is not a LeRobot Backend server: its /health has other fields")
    check_robot_access(options.host)


def check_robot_access(host: str) -> None:
    """Connect a robot that sends nothing: a session without frames shows whether the server accepts robots."""
    try:
        websocket.create_connection(
            f"{host.replace('http', 'ws', 1)}/ws/log/loadtest_0?session=loadtest-probe", timeout=TIMEOUT_S
        ).close()
    except websocket.WebSocketBadStatusException as error:
        raise Unusable(
            f"--host {host} refuses robots (HTTP {error.status_code}): it must run with ROBOT_AUTH=open"
        ) from None
    except (OSError, websocket.WebSocketException) as error:
        raise Unusable(f"--host {host}: no robot can connect: {error}") from None
