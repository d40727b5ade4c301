"""Sabotage `manage.py serve`, to test that a load test notices: `python -m loadtest.tests.faulty_server MODES`.

drop    acknowledges every frame and stores all but one of a hundred
early   acknowledges frames long before it commits them, and is killed once
slow    takes 250 ms longer for every commit

MODES are one of them, or several with commas between them.
"""

import os
import signal
import subprocess
import sys
import threading
import time

from teleop.ingest.types import Outcome

SLOW_S = 0.25
GROUPS_HELD_BACK = 30
KILLED_AFTER_S = 1.5  # counted from the first frames


def drop(write):
    seen = 0

    def dropping(rows):
        nonlocal seen
        kept = [row for n, row in enumerate(rows, seen) if n % 100]
        seen += len(rows)
        return write(kept) if kept else Outcome()

    return dropping


def early(write):
    waiting = []

    def acknowledging(rows):
        if not waiting:
            threading.Timer(KILLED_AFTER_S, os.kill, (os.getpid(), signal.SIGKILL)).start()
        waiting.append(rows)
        return write(waiting[-GROUPS_HELD_BACK]) if len(waiting) >= GROUPS_HELD_BACK else Outcome()

    return acknowledging


def slow(write):
    def slowly(rows):
        time.sleep(SLOW_S)
        return write(rows)

    return slowly


SABOTAGE = {"drop": drop, "early": early, "slow": slow, "honest": lambda write: write}


def serve(modes: str, arguments: list[str]) -> None:
    import django

    django.setup()
    from django.core.management import execute_from_command_line

    from teleop.ingest import store

    for mode in modes.split(","):
        store.write = SABOTAGE[mode](store.write)
    execute_from_command_line(["manage.py", "serve", *arguments])


def serve_twice(arguments: list[str]) -> None:
    """Supervise the server: after the kill, start it again without the sabotage."""
    for mode in ("early", "honest"):
        child = subprocess.Popen([sys.executable, "-m", "loadtest.tests.faulty_server", mode, *arguments, "--alone"])
        signal.signal(signal.SIGTERM, lambda *_, child=child: child.terminate())
        if child.wait() != -signal.SIGKILL:
            break


if __name__ == "__main__":
    mode, *rest = sys.argv[1:]
    if mode == "early" and "--alone" not in rest:
        serve_twice(rest)
    else:
        serve(mode, [each for each in rest if each != "--alone"])
