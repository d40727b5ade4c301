"""Upload the pieces of films, one after another; an upload without an answer is repeated."""

import http.client
import random
import time
from enum import Enum
from pathlib import Path
from typing import Any

from .. import network
from ..camera.film_request import Answer, FilmRequest
from ..camera.film_upload import videos_url
from ..encoding import key_header
from ..errors import SessionDeleted
from ..reconnect import Backoff, Delays
from .target import PATIENCE_S, PushStopped, Target

DELAYS = Delays(first=1.0, most=15.0)
_LATER = {408, 425, 429}
_KEY = {401, 403}


class FilmRefused(Exception):
    """The server will never take this film."""


class Upload(Enum):
    """What became of a film that the server now has."""

    NEW = "new"
    KNOWN = "known"
    OTHER = "other"  # the server has another film of the same time


class FilmSender:
    """Uploads films of one robot in the caller's thread."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._url, self._headers = videos_url(target.url), key_header(target.key) or {}
        ssl = network.connect_options(url=target.url, ca_file=target.ca_file).get("ssl")
        self._options: dict[str, Any] = {"ssl": ssl, "kbit_s": target.upload_kbit_s, "wait": _sleep}

    def send(self, film: Path, session: str, camera: str, start_us: int, end_us: int) -> Upload:
        """Upload a film, until the server has it.

        Raise FilmRefused, SessionDeleted, PushStopped, or OSError for the disk.
        """
        fields = {
            "robot": self._target.robot_id,  # a server with ROBOT_AUTH=open knows no key
            "session_key": session,
            "camera_key": camera,
            "start_timestamp": f"{start_us / 1e6:.6f}",
            "end_timestamp": f"{end_us / 1e6:.6f}",
            "timing": "exact",
        }
        backoff, give_up_s = Backoff(DELAYS, random.Random()), time.monotonic() + PATIENCE_S
        while True:
            why, delay_s = "", 0.0
            try:
                answer = FilmRequest(self._url, **self._options).post(self._headers, fields, film)
                if outcome := _outcome(answer, start_us, end_us):
                    return outcome
                why, delay_s = _text(answer), answer.retry_after_s or 0.0
            except (*network.ERRORS, http.client.HTTPException) as error:
                why = network.explain(error, self._target.url, True)[0]
            delay_s = delay_s or backoff.next()
            if time.monotonic() + delay_s > give_up_s:
                raise PushStopped(f"a film of {camera} could not be uploaded within {PATIENCE_S:.0f} s: {why}")
            time.sleep(delay_s)


def _outcome(answer: Answer, start_us: int, end_us: int) -> Upload | None:
    """Return None to try again later. Raise for a refusal."""
    if answer.status in (200, 201):
        return Upload.NEW if answer.status == 201 else Upload.KNOWN
    # Another version of FFmpeg has cut other bytes out of the same pictures, or the dataset's films were changed.
    if answer.status == 409 and f"from {start_us / 1e6} to {end_us / 1e6}" in answer.text:
        return Upload.OTHER
    if answer.status == 410:
        raise SessionDeleted("the session was deleted on the server")
    if answer.status in _KEY:
        raise PushStopped(f"the server refuses films of this robot: {_text(answer)}")
    if answer.status < 400 or answer.status >= 500 or answer.status in _LATER or answer.code == "session_unknown":
        return None
    raise FilmRefused(_text(answer))


def _text(answer: Answer) -> str:
    return f"HTTP {answer.status} {answer.text[:500]}"


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
