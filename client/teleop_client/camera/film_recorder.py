"""Turn a camera's pictures into films of ten seconds: skip repeated pictures, find faults, survive a full disk."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from . import film_file, film_image
from .camera_faults import Faults
from .film_chunk import SOFTWARE, Chunk, EncoderFailed

CHUNK_S = 10.0
REPEAT_S = 1.0  # a picture that is delivered again and again is encoded again after so long
MIXED_S = 1.0  # a film is at least so long, if a program mixes pictures of two sizes or times
RETRY_S = 1.0  # after a film could not be begun or written

Report = Callable[[str, dict[str, Any]], None]


class Recording:
    """The films of one camera in one session.

    `moment` returns the present time: seconds since a TimeBase, and this base. While `room` returns False or raises
    OSError no film is begun.
    """

    def __init__(self, folder: Path, moment: Callable[[], tuple[float, Any]], room: Callable[[], bool]) -> None:
        self.folder, self.moment, self.room = folder, moment, room
        self._number = 0

    def next_path(self) -> Path:
        """Return the path of the next film, without its suffix."""
        self._number = self._number + 1 if self._number else film_file.first_free_number(self.folder)
        return self.folder / f"{self._number:06}"


class Picture(NamedTuple):
    """An image and its time: seconds since `base`, or unix seconds if there is no base."""

    image: Any
    recording: Recording
    time_s: float
    base: Any


class Recorder:
    """The films of one camera. One thread calls it; `clock` is a steady clock in seconds."""

    def __init__(
        self,
        name: str,
        report: Report,
        *,
        fps: float | None = None,
        encoder: str | None = None,
        crf: int = 23,
        channels: str = "rgb",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._name, self._report, self._clock = name, report, clock
        self._fps, self._encoder, self._crf = fps, encoder or SOFTWARE, crf
        self._formats = film_image.FORMATS[channels]
        self._faults = Faults(fps, lambda fault, facts: self._tell("fault", fault, facts))
        self._told: set[str] = set()  # the errors that are reported and not over
        self._chunk: Chunk | None = None
        self._recording: Recording | None = None  # of the last picture, as are the following
        self._base: Any = None
        self._last_s = 0.0
        self._image: Any = None
        self._checksum: int | None = None
        self._size: tuple[int, int] | None = None
        self._taken_at = self._begun_at = self._retry_at = 0.0

    @property
    def encoded(self) -> int:
        """Return how many pictures are in films."""
        return self.counts["encoded"] + (self._chunk.pictures if self._chunk else 0)

    def error(self, kind: str, text: str) -> None:
        """Report an error once, until it is over or the session is."""
        if kind not in self._told:
            self._told.add(kind)
            self._tell("error", kind, {"text": text})

    def _tell(self, what: str, kind: str, facts: dict[str, Any]) -> None:
        text = f"camera {self._name}: {facts['text']}"
        self._report(what, {"camera": self._name, what: kind} | facts | {"text": text})

    def look(self, current: Recording | None, is_idle: bool, is_paused: bool = False) -> None:
        """Find faults, and finish a film whose camera has stopped, or whose session is not the `current` one."""
        now = self._clock()
        if current and current is self._recording:
            (self._faults.pause if is_paused else self._faults.look)(now)
        if (
            self._chunk
            and is_idle
            and (current is not self._recording or now - self._taken_at > self._faults.stopped_s)
        ):
            self._finish()

    def take(self, picture: Picture) -> None:
        """Encode a picture, or count why it is not encoded."""
        now = self._taken_at = self._clock()
        try:
            array = film_image.pixels(picture.image)
        except Exception as error:  # a method of the caller's object may raise anything
            self.counts["dropped"] += 1
            self.error("image", str(error) or type(error).__name__)
            return
        if picture.recording is not self._recording:
            self._finish()
            self._recording, self._base, self._last_s = picture.recording, picture.base, float("-inf")
            self._image = self._checksum = self._size = None
            self._told.clear()
            self._faults.begin()
        checksum = film_image.checksum(array)
        is_identical = checksum == self._checksum
        is_repeated = is_identical and picture.image is self._image
        self._image, self._checksum = picture.image, checksum
        self._faults.picture(now, is_new=not is_repeated, is_identical=is_identical)
        since_last_s = picture.time_s - self._last_s if picture.base is self._base else None
        if is_repeated and since_last_s is not None and since_last_s < REPEAT_S:
            self.counts["repeated"] += 1
        elif since_last_s is not None and since_last_s <= 0:
            self._disordered()
        else:
            self._record(picture, array, since_last_s, now)

    def _disordered(self) -> None:
        self.counts["disordered"] += 1
        self.error("time", "a picture is not later than the one before, and was dropped")

    def _record(self, picture: Picture, array: Any, since_last_s: float | None, now: float) -> None:
        size = (array.shape[1], array.shape[0])
        is_resized = self._size not in (None, size)
        if is_resized:
            self._faults.resized(now, self._size or size, size)
        if self._chunk and (is_resized or since_last_s is None) and now - self._begun_at < MIXED_S:
            self.counts["dropped"] += 1
            return
        is_next = since_last_s is not None and since_last_s < self._faults.stopped_s
        if self._chunk and (is_resized or not is_next or picture.time_s - self._chunk.start_s >= CHUNK_S):
            self._finish(picture.time_s if is_next else None)
        chunk = self._chunk = self._chunk or self._begin(picture, size, now)
        if chunk is None:
            self.counts["dropped"] += 1
            return
        try:
            if not chunk.add(array, self._formats[array.shape[2] if array.ndim == 3 else 1], picture.time_s):
                self._disordered()
        except EncoderFailed as error:
            self.counts["dropped"] += 1
            self._failed("encoder", error)
            self._finish()
        except OSError as error:  # the chunk counts this picture
            self._failed("disk", error)
            self._finish()
        self._base, self._last_s, self._size = picture.base, picture.time_s, size

    def _begin(self, picture: Picture, size: tuple[int, int], now: float) -> Chunk | None:
        """Begin a film with this picture; return None if that is not possible now."""
        if now < self._retry_at:
            return None
        if not self._has_room(picture.recording):
            return None
        self._begun_at = now
        about = {"camera": self._name, "start": _start(picture)}
        options: dict[str, Any] = {"fps": self._fps, "crf": self._crf}
        while True:
            try:
                path = picture.recording.next_path()
                return Chunk(path, about, picture.time_s, size, encoder=self._encoder, **options)
            except EncoderFailed as error:
                is_last = self._encoder == SOFTWARE
                self._failed("encoder", error)
                if is_last:
                    return None
            except OSError as error:
                self._failed("disk", error)
                return None

    def _has_room(self, recording: Recording) -> bool:
        """Return whether the spool takes films; if not, report the reason."""
        try:
            if recording.room():
                return True
            self._failed("room", "the spool has reached its quota, and takes no films")
        except OSError as error:
            self._failed("room", error)
        return False

    def _failed(self, kind: str, error: object) -> None:
        """Report an error, and try again later; in place of an encoder of the hardware use libx264 at once."""
        if kind == "encoder" and self._encoder != SOFTWARE:
            self.error(kind, f"{error}; {SOFTWARE} is used in its place")
            self._encoder = SOFTWARE
            return
        self.error(kind, f"pictures are dropped: {error}")
        self._retry_at = self._clock() + RETRY_S

    def _finish(self, end_s: float | None = None) -> None:
        """Complete the film, if there is one. `end_s` is the time at which the next picture takes over."""
        chunk, self._chunk = self._chunk, None
        if chunk is None:
            return
        kept = 0
        try:
            kept = chunk.finish(end_s)
        except OSError as error:
            self._failed("disk", error)
        self.counts["encoded"] += kept
        self.counts["dropped"] += chunk.pictures - kept
        if kept:
            film_file.sync_soon(chunk.path, chunk.about_path)
            if self._clock() >= self._retry_at:
                self._told -= {"disk", "encoder", "room"}


def _start(picture: Picture) -> dict[str, Any]:
    """Return the time of a film's first picture, as it is noted beside the film."""
    base = picture.base
    if base is None:
        return {"unix_s": picture.time_s}
    if base.is_fixed:
        return {"unix_s": base.time_s(picture.time_s)}
    return {"since_s": picture.time_s, "base": {"boot": base.boot, "elapsed_s": base.elapsed_s}}
