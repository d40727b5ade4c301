"""Ask a long-lived process for the facts of a film; it examines each film in a process with limits."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from videos.film.facts import Facts, NoVideo
from videos.film.limits import CPU_S, WALL_S

__all__ = ["Facts", "NoVideo", "ProbesBusy", "probe"]

AT_A_TIME, MAX_WAITING, WAIT_S = 2, 20, 20
TIMEOUT_S = WALL_S + 10  # for a process that hangs itself
TRIES = 2
COMMAND = ["nice", "-n", "5", sys.executable, "-m", "videos.film.probe_server"]


class ProbesBusy(Exception):
    """The file cannot be probed now."""


places, waiting = threading.BoundedSemaphore(AT_A_TIME), threading.BoundedSemaphore(MAX_WAITING)


def probe(path: str | Path) -> Facts:
    """Return the facts of the film; raises NoVideo and ProbesBusy.

    The caller holds no connection to the database meanwhile.
    """
    if not waiting.acquire(blocking=False):
        raise ProbesBusy(f"{MAX_WAITING} uploads already wait to be checked")
    try:
        if not places.acquire(timeout=WAIT_S):
            raise ProbesBusy(f"{AT_A_TIME} other uploads are being checked, and this one has waited for {WAIT_S} s")
    finally:
        waiting.release()
    try:
        return _facts_of(_server.ask(os.path.abspath(path)))
    finally:
        places.release()


def _facts_of(answer: dict) -> Facts:
    match answer:
        case {"error": reason}:
            raise NoVideo(reason)
        case {"signal": signal.SIGXCPU}:
            raise NoVideo(f"it takes more than {CPU_S} s of processor time to read")
        case {"signal": signal.SIGALRM}:
            raise ProbesBusy(f"the upload could not be checked within {WALL_S} s, as the server is busy")
        case {"signal": number}:
            raise NoVideo(f"FFmpeg cannot read it ({signal.Signals(number).name})")
        case {"bug": text}:
            raise RuntimeError(text)
    return Facts(**answer)


class ProbeServer:
    """The process that examines films (videos/film/probe_server.py).

    The first question starts it, and a question that it does not answer replaces it. It ends when this process ends,
    because the kernel then closes the socket. (A death signal would end it with the thread that started it.)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def ask(self, path: str) -> dict:
        """Return the answer; raises ProbesBusy. Any thread may call this.

        If the process dies before it answers, a new one is asked.
        """
        for _ in range(TRIES):
            reader, writer = os.pipe()
            with open(reader, "rb") as pipe:
                process = self._send(path, writer)
                answers = select.poll()  # not select(), which takes no descriptor above 1023
                answers.register(pipe, select.POLLIN)
                is_over = bool(answers.poll(TIMEOUT_S * 1000))
                if is_over and (answer := pipe.readline()):
                    return json.loads(answer)
            self._discard(process)
            if not is_over:
                raise ProbesBusy(f"the upload could not be checked within {TIMEOUT_S} s")
        raise ProbesBusy("the process that checks uploads has ended")

    def _send(self, path: str, writer: int) -> subprocess.Popen[bytes]:
        """Send the question; return the process that will answer it."""
        try:
            with self._lock:
                if self._process is None:
                    self._start()
                with suppress(BrokenPipeError, ConnectionResetError):  # it has died; there will be no answer
                    socket.send_fds(self._requests, [os.fsencode(path)], [writer])
                return self._process
        finally:
            os.close(writer)  # the process has the other copy, so that its end ends the answer

    def _discard(self, process: subprocess.Popen[bytes]) -> None:
        """End the process, unless another thread has done so."""
        with self._lock:
            if process is self._process:
                process.kill()
                process.wait()
                self._requests.close()
                self._process = None

    def _start(self) -> None:
        self._requests, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its_end:
            # A session of its own: Ctrl-C in the terminal must not end it before the uploads that wait for it.
            self._process = subprocess.Popen(
                COMMAND,
                stdin=its_end,
                stdout=subprocess.DEVNULL,
                cwd=Path(__file__).resolve().parent.parent,
                start_new_session=True,
            )


_server = ProbeServer()
