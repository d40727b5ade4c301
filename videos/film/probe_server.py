"""Examine films in processes of their own: `python -m videos.film.probe_server` with a socket as standard input.

Each message on the socket is a path, with a file descriptor for the answer. The server imports FFmpeg once (0.2 s), and
forks for each film: 600 bytes may make FFmpeg take 2 GB of memory, or crash. It imports nothing of Django.
"""

import ctypes
import json
import os
import resource
import selectors
import signal
import socket
import traceback
from contextlib import suppress
from typing import Any

from videos.film.examine import examine
from videos.film.facts import NoVideo
from videos.film.limits import CPU_S, MEMORY_BYTES, WALL_S

MAX_PATH_BYTES = 4096
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve until the other end of the socket is closed, which happens when its process ends in any way."""
    requests = socket.socket(fileno=0)
    answers: dict[int, int] = {}  # descriptors of processes -> descriptors of their answers
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not requests:
                    selector.unregister(key.fd)
                    _finish(key.fd, answers.pop(key.fd))
                    continue
                path, descriptors, _, _ = socket.recv_fds(requests, MAX_PATH_BYTES, 1)
                if not path:
                    return
                process = os.pidfd_open(_fork(os.fsdecode(path), *descriptors))
                answers[process] = descriptors[0]
                selector.register(process, selectors.EVENT_READ)


def _fork(path: str, answer: int) -> int:
    if pid := os.fork():
        return pid
    try:
        _limit()
        os.write(answer, json.dumps(_examine(path)).encode() + b"\n")
    finally:
        os._exit(0)


def _limit() -> None:
    """Set limits that the kernel enforces, and that code in C cannot ignore."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it ends with the server
    signal.alarm(WALL_S)
    for name, limit in (("DATA", MEMORY_BYTES), ("CPU", CPU_S), ("CORE", 0), ("FSIZE", 0)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit + 1 if name == "CPU" else limit))


def _examine(path: str) -> dict[str, Any]:
    try:
        return examine(path)._asdict()
    except NoVideo as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": f"it takes more than {MEMORY_BYTES >> 20} MB of memory to read, or has too many tracks"}
    except OSError as error:
        return {"error": f"it cannot be read ({error.strerror})"}
    except Exception:  # a bug of this program, which the server raises again
        return {"bug": traceback.format_exc()}


def _finish(process: int, answer: int) -> None:
    """Answer with the signal if one killed the process, and close the answer."""
    status = os.waitid(os.P_PIDFD, process, os.WEXITED)
    if status and status.si_code != os.CLD_EXITED:
        with suppress(BrokenPipeError):
            os.write(answer, json.dumps({"signal": status.si_status}).encode() + b"\n")
    os.close(answer)
    os.close(process)


if __name__ == "__main__":
    main()
