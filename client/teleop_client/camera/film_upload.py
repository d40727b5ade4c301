"""Upload complete films, one at a time, from a thread of its own; delete each after the server has stored it."""

import contextlib
import http.client
import random
import re
import ssl as tls
import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from .. import network
from ..encoding import key_header
from ..network import ProxyOption
from ..reconnect import REFUSAL_DISABLED, Backoff, Delays
from . import film_file
from .film_file import TEMPORARY, FilmUnusable, TimeOf
from .film_request import Answer, FilmRequest, Stopped

Report = Callable[[str, dict[str, Any]], None]

LOOK_S = 1.0  # between looks for films
KEY_S = 60.0  # after the server refused the key
DISABLED_S = 600.0  # after staff disabled the robot
MOST_RETRY_AFTER_S = 600.0
PAUSE_S, MOST_PAUSE_S = 0.1, 10.0  # of a film, while frames wait: the server closes a connection that is too slow
DELAYS = Delays(first=1.0, most=60.0)
_LATER = {408, 425, 429}
_KEY = {401, 403}
SESSION_UNKNOWN = "session_unknown"  # the server has not seen the session yet: its frames come before its films


class _DiskFailed(Exception):
    """A film cannot be read, or its copy cannot be written."""


class Outcome(Enum):
    """What became of a film."""

    GONE = "gone"  # stored by the server, or set aside: it does not wait any more
    WAITS = "waits"  # for its session or its time; films of other sessions may be uploaded
    LATER = "later"  # the server is not reachable, is busy, or refuses the key


class Source:
    """The films of one session."""

    def __init__(self, folder: Path, session: str, time_of: TimeOf, rng: random.Random) -> None:
        self.folder, self.session, self.time_of = folder, session, time_of
        self.backoff = Backoff(DELAYS, rng)
        self.wait_until_s = 0.0


def videos_url(url: str) -> str:
    """Return the address for films at `url` (ws, wss, http or https; a path is kept as prefix)."""
    parts = urlsplit(re.sub("^ws", "http", url))
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + "/videos", "", ""))


class FilmUploader:
    """The films of the sessions of one robot. `start` runs it in a thread; `drain` uploads in the caller's.

    `may_upload` is asked before each film: frames come first. `ssl` and `proxy` are those of network.connect_options.
    `report` gets "error", and a dict with the error in a word (network, server, key, refused) and a sentence in `text`.
    It is called from the uploader's thread.
    """

    def __init__(
        self,
        url: str,
        robot_id: str,
        key: str | None,
        *,
        ssl: tls.SSLContext | None = None,
        proxy: ProxyOption = True,
        kbit_s: float | None = None,
        may_upload: Callable[[], bool] = lambda: True,
        report: Report = lambda what, facts: None,
        rng: random.Random | None = None,
    ) -> None:
        if kbit_s is not None and not kbit_s >= 16:
            raise ValueError(f"upload_kbit_s is {kbit_s!r}; at least 16, or None, expected")
        self.counts: Counter[str] = Counter(uploaded=0, refused=0)
        self.last_error: str | None = None
        self._robot_id = robot_id
        self._url, self._headers = videos_url(url), key_header(key) or {}
        self._options: dict[str, Any] = {"ssl": ssl, "proxy": proxy, "kbit_s": kbit_s}
        self._may_upload, self._report = may_upload, report
        self._rng = rng or random.Random()
        self._backoff = Backoff(DELAYS, self._rng)
        self._sources: dict[Path, Source] = {}
        self._request: FilmRequest | None = None
        self._paused_s = 0.0  # of the film that is on its way
        self._told: set[str] = set()
        self._stopped, self._awake = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, folder: Path, session: str, time_of: TimeOf) -> None:
        """Upload the films in this folder of a session, those of now and those to come.

        `time_of` returns the unix time of seconds since a time base, or None as long as the base is not fixed.
        """
        self._sources[folder] = Source(folder, session, time_of, self._rng)
        self._awake.set()

    def remove(self, folder: Path) -> None:
        """Upload no more from this folder; a film that is on its way is finished. Empty folders are deleted."""
        self._sources.pop(folder, None)
        film_file.remove_empty(folder)

    def waiting(self) -> int:
        """Return how many complete films are on disk."""
        return sum(len(film_file.films(folder)) for folder in list(self._sources))

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="teleop films", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for films now."""
        self._awake.set()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Stop at once; the film that is on its way is uploaded again another time."""
        self._stopped.set()
        self._awake.set()
        if request := self._request:
            request.stop()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def drain(self, folder: Path, session: str, time_of: TimeOf) -> int:
        """Upload the films that a dead process has left in a folder; return how many are left. `stop` ends it.

        The caller holds the lock of the session's spool.
        """
        film_file.recover(folder)
        source = Source(folder, session, time_of, self._rng)
        for film in film_file.films(folder):
            if self._stopped.is_set() or self._upload(source, film)[0] is not Outcome.GONE:
                break
        left = len(film_file.films(folder))
        film_file.remove_empty(folder)
        return left

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._awake.clear()
            try:
                delay_s = self._next()
            except Exception as error:  # the films stay, and may be uploaded later
                self._error("unexpected", repr(error))
                delay_s = self._backoff.next()
            if delay_s > LOOK_S:
                self._stopped.wait(delay_s)
            else:
                self._awake.wait(delay_s)

    def _next(self) -> float:
        """Upload the next film; return the seconds to wait for the one after it."""
        for source in list(self._sources.values()):
            if time.monotonic() < source.wait_until_s:
                continue
            for film in film_file.films(source.folder):
                if not self._may_upload():
                    return LOOK_S
                outcome, delay_s = self._upload(source, film)
                if outcome is Outcome.WAITS:
                    source.wait_until_s = time.monotonic() + delay_s
                    break
                return delay_s
        return LOOK_S

    def _upload(self, source: Source, film: Path) -> tuple[Outcome, float]:
        """Upload a film; return its outcome, and the seconds to wait before the next attempt."""
        copy = film.with_suffix(TEMPORARY)
        try:
            if (fields := self._prepare(source, film, copy)) is None:
                return Outcome.WAITS, LOOK_S
            self._paused_s = 0.0
            self._request = FilmRequest(self._url, wait=self._wait, **self._options)
            return self._judge(source, film, self._request.post(self._headers, fields, copy))
        except Stopped:
            return Outcome.LATER, 0.0
        except FilmUnusable as error:
            return self._refused(film, str(error))
        except _DiskFailed as error:
            self._error("disk", f"no film can be prepared for uploading: {error}")
            return Outcome.LATER, self._backoff.next()
        except (*network.ERRORS, http.client.HTTPException) as error:
            return self._failed(error)
        finally:
            self._request = None
            with contextlib.suppress(OSError):
                copy.unlink(missing_ok=True)

    def _prepare(self, source: Source, film: Path, copy: Path) -> dict[str, str] | None:
        """Repack the film; return the fields of its form, or None if its time is not known yet."""
        from .film_chunk import repack  # it imports PyAV, which is optional

        try:
            about = film_file.read_about(film)
            if (start_s := film_file.start_of(film, source.time_of)) is None:
                return None
            length_s = repack(film, copy)
        except OSError as error:
            raise _DiskFailed(error) from error
        return {
            "robot": self._robot_id,  # a server with ROBOT_AUTH=open knows no key
            "session_key": source.session,
            "camera_key": about["camera"],
            "start_timestamp": f"{start_s:.6f}",
            "end_timestamp": f"{start_s + length_s:.6f}",
            "timing": "exact",
        }

    def _wait(self, seconds: float) -> bool:
        """Wait before a block of a film, and longer while frames wait; return whether to stop."""
        self._stopped.wait(seconds)
        while self._paused_s < MOST_PAUSE_S and not self._stopped.is_set() and not self._may_upload():
            self._stopped.wait(PAUSE_S)
            self._paused_s += PAUSE_S
        return self._stopped.is_set()

    def _judge(self, source: Source, film: Path, answer: Answer) -> tuple[Outcome, float]:
        said = f"HTTP {answer.status} {answer.text[:500]}"
        if answer.status in (200, 201):
            film.unlink()  # first: without its film, the file beside it is deleted at the next start
            film.with_suffix(".json").unlink(missing_ok=True)
            self.counts["uploaded"] += 1
            self._told.clear()
            self._backoff.reset()
            source.backoff.reset()
            return Outcome.GONE, 0.0
        if answer.status == 409 and answer.code == SESSION_UNKNOWN:
            return Outcome.WAITS, source.backoff.next()
        if answer.code == REFUSAL_DISABLED:
            self._error("disabled", "staff have disabled this robot on the server; its films wait")
            return Outcome.LATER, DISABLED_S
        if answer.status in _KEY:
            self._error("key", f"the server refuses the robot's key for films: {said}")
            return Outcome.LATER, KEY_S
        if answer.status < 400 or answer.status >= 500 or answer.status in _LATER:
            self._error("server", f"the server did not take a film: {said}")
            return Outcome.LATER, min(answer.retry_after_s or self._backoff.next(), MOST_RETRY_AFTER_S)
        return self._refused(film, said)

    def _refused(self, film: Path, reason: str) -> tuple[Outcome, float]:
        film_file.set_aside(film, f"{film.parent.name}-{film.stem}-{time.time_ns()}", reason)
        self.counts["refused"] += 1
        self._error("refused", f"a film was set aside in {film.parent.parent / film_file.REFUSED}: {reason}")
        return Outcome.GONE, 0.0

    def _failed(self, error: Exception) -> tuple[Outcome, float]:
        if self._stopped.is_set():
            return Outcome.LATER, 0.0
        text, is_local = network.explain(error, self._url, self._options["proxy"])
        self._error("network", f"no film could be uploaded: {text}")
        return Outcome.LATER, self._backoff.next(is_local)

    def _error(self, kind: str, text: str) -> None:
        """Report an error once, until a film is uploaded."""
        self.last_error = text
        if kind not in self._told:
            self._told.add(kind)
            with contextlib.suppress(Exception):  # the callback may not end the thread
                self._report("error", {"error": kind, "text": text})
