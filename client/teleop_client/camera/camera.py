"""Record a camera of the robot: `write` hands pictures to a thread, which encodes them into films."""

import contextlib
import math
import os
import queue
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..encoding import unix_seconds
from ..errors import FrameInvalid
from . import film_image
from .film_file import REFUSED
from .film_image import ImageInvalid

if TYPE_CHECKING:
    from .film_recorder import Recording, Report

QUEUE = 8  # pictures of any size: opening an encoder takes the time of two or three of them
QUEUE_BYTES = 32 << 20  # of small pictures more: while LeRobot's plugin opens a session, 30 may come for it
LOOK_S = 0.5  # between looks for faults
FRAMES_PAUSE_S = 0.5  # without frames: the robot's program does something else, and its cameras are not at fault
MAX_NAME = 100
_NAME = re.compile(r"[\w-]+(?:\.[\w-]+)*", re.ASCII)


def check_name(name: str) -> str:
    """Return the name of a camera; raise ValueError if the server would refuse it."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME or name == REFUSED:
        raise ValueError(f"camera is {name!r:.110}; letters, digits, _ and -, separated by single dots, expected")
    return name


class Camera:
    """One camera of a robot, over all its sessions. It records between `begin` and `end`.

    `fps` is the rate that the camera promises; without it none is expected. `encoder` is FFmpeg's name of an encoder
    (h264_nvenc, h264_v4l2m2m, h264_vaapi, h264_videotoolbox): if it cannot be used, libx264 is. `crf` is libx264's
    quality: lower is better. `channels` is the order of the colours, "rgb" or "bgr". Raise ValueError for unusable
    options, and ImportError without PyAV.

    `frame_s` returns the time of the last frame by the steady clock: images that come with frames pause with them.

    `report` gets "fault" or "error", and a dict: the camera's name, the fault or error in a word, and a sentence in
    `text`. It is called from the camera's thread.
    """

    def __init__(
        self,
        name: str,
        report: "Report",
        *,
        fps: float | None = None,
        encoder: str | None = None,
        crf: int = 23,
        channels: str = "rgb",
        strict: bool = False,
        frame_s: Callable[[], float] = time.monotonic,
    ) -> None:
        from . import film_recorder  # it imports PyAV, which is optional

        if channels not in film_image.FORMATS:
            raise ValueError(f"channels is {channels!r}; 'rgb' or 'bgr' expected")
        if fps is not None and not 0 < fps <= 1000:
            raise ValueError(f"fps is {fps!r}; a number above 0 and up to 1000, or None, expected")
        if not 0 <= crf <= 51:
            raise ValueError(f"crf is {crf!r}; 0 to 51 expected")
        self.name, self._strict = check_name(name), strict
        self._recorder = film_recorder.Recorder(name, report, fps=fps, encoder=encoder, crf=crf, channels=channels)
        self._picture, self._recording_of = film_recorder.Picture, film_recorder.Recording
        self._recording: Recording | None = None
        self._frame_s, self._comes_with_frames = frame_s, False
        self._checked: tuple[Any, ...] = ()  # type, shape and dtype of the last image
        self._process = 0  # that of the thread; 0: there is no thread
        self._thread: threading.Thread | None = None
        # Pictures, and None to wake the thread. SimpleQueue is written in C: `put` takes microseconds.
        self._queue: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._most_waiting = QUEUE
        self._flushed: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()
        self._errors: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()  # of `write`: its thread may not wait
        self._counts: Counter[str] = Counter()  # of `write`
        self._formats = film_image.FORMATS[channels]
        self._newest: tuple[Any, float, Any] | None = None  # that no preview has shown

    # Calls of the robot's program

    def write(self, image: Any, timestamp: float | None = None, copy: bool = False) -> bool:
        """Record a picture; return whether it was taken. Never raises, and never waits.

        The image is read later, so it must not be changed; `copy` copies it first. `timestamp` is its time in unix
        seconds; without it, the time of the call. If the thread is behind, the oldest picture that waits is dropped.
        With `strict`, raise FrameInvalid for an object that is no image.
        """
        return self.write_at(None, image, timestamp, copy)

    def write_at(
        self, moment: tuple[float, Any] | None, image: Any, timestamp: float | None = None, copy: bool = False
    ) -> bool:
        """Do `write` for a picture of this moment (see `begin`), which is that of a frame; None is now."""
        try:
            return self._write(moment, image, timestamp, copy)
        except ImageInvalid as error:
            kind, text = error.kind, f"an image {error}"
        except Exception as error:  # a method of the caller's object may raise anything
            kind, text = "object", f"an image is {type(image).__name__}, which raised {type(error).__name__}"
        self._counts["invalid"] += 1
        self._errors.put((f"image {kind}", text))
        if self._strict:
            raise FrameInvalid(self.name, kind, f"camera {self.name}: {text}")
        return False

    def _write(self, moment: tuple[float, Any] | None, image: Any, timestamp: float | None, copy: bool) -> bool:
        recording = self._recording
        if recording is None or os.getpid() != self._process:
            self._counts["not_running"] += 1
            return False
        self._comes_with_frames = moment is not None
        time_s, base = moment or recording.moment()
        if timestamp is not None:
            if (unix_s := unix_seconds(timestamp)) is not None:
                time_s, base = unix_s, None
            else:
                self._errors.put(("timestamp", "a timestamp is no unix time; the time of the call is used"))
        kind = type(image), getattr(image, "shape", None), getattr(image, "dtype", None)
        if kind[1] is None or kind != self._checked:  # checking each would take 0.03 ms in a robot's loop
            film_image.check(image)
            self._checked = kind
            self._most_waiting = max(QUEUE, QUEUE_BYTES // math.prod(kind[1])) if kind[1] else QUEUE
        if copy:
            image = film_image.copied(image)
        self._counts["written"] += 1
        self._newest = image, time_s, base
        self._queue.put((image, recording, time_s, base))
        while self._queue.qsize() > self._most_waiting:
            with contextlib.suppress(queue.Empty):
                self._counts["dropped"] += self._queue.get_nowait() is not None
        return True

    def preview(self) -> tuple[float, bytes] | None:
        """Return the newest picture as a small JPEG, and its time in unix seconds; None if there is no newer one.

        It takes some milliseconds, in any thread.
        """
        newest, self._newest = self._newest, None
        if newest is None:
            return None
        from . import film_preview

        image, time_s, base = newest
        try:
            return base.time_s(time_s) if base else time_s, film_preview.jpeg(image, self._formats)
        except Exception as error:  # an object of the robot's program
            self._errors.put(("preview", f"a picture cannot be shown as a preview: {error}"))
            return None

    def begin(
        self, folder: Path, moment: Callable[[], tuple[float, Any]], room: Callable[[], bool] = lambda: True
    ) -> None:
        """Record a session into `<folder>/<name>/`, also in place of the session before.

        `moment` returns the present time: seconds since a TimeBase, and this base. While `room` returns False no film
        is begun. The process must hold the lock of the session's spool.
        """
        self._recording = self._recording_of(folder / self.name, moment, room)
        if self._thread is None:
            self._process = os.getpid()
            self._thread = threading.Thread(target=self._run, name=f"teleop camera {self.name}", daemon=True)
            self._thread.start()
        self._queue.put(None)

    def end(self, timeout_s: float = 5.0) -> bool:
        """Stop recording, and wait until all films are complete; return whether they are."""
        self._recording = None
        return self.flush(timeout_s)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until all pictures are encoded, and films of earlier sessions complete; return whether they are."""
        if os.getpid() != self._process:
            return True
        flushed = threading.Event()
        self._flushed.put(flushed)
        self._queue.put(None)
        return flushed.wait(timeout_s)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Do `end`, and stop the thread; `begin` starts another."""
        is_complete = self.end(timeout_s)
        self._thread, self._process = None, 0
        self._queue.put(None)
        return is_complete

    def counts(self) -> dict[str, int]:
        """Return counts of pictures: written = encoded + repeated + dropped + disordered + waiting.

        Beside these there are `invalid` ones, which are no images, and those given while the camera was `not_running`.
        """
        own, recorder = self._counts, self._recorder.counts
        counts = {
            "written": own["written"],
            "encoded": self._recorder.encoded,
            "repeated": recorder["repeated"],
            "dropped": own["dropped"] + recorder["dropped"],
            "disordered": recorder["disordered"],
        }
        waiting = max(counts["written"] - sum(list(counts.values())[1:]), 0)
        return counts | {"waiting": waiting, "invalid": own["invalid"], "not_running": own["not_running"]}

    # The camera's thread

    def _run(self) -> None:
        while self._thread is threading.current_thread() or not self._queue.empty():
            picture = None
            with contextlib.suppress(queue.Empty):
                picture = self._queue.get(timeout=LOOK_S)
            try:
                if picture is not None:
                    self._recorder.take(self._picture(*picture))
                self._look()
            except Exception as error:  # one picture's fault must not end the recording
                self._errors.put(("unexpected", repr(error)))
            del picture  # it holds the image

    def _look(self) -> None:
        while not self._errors.empty():
            self._recorder.error(*self._errors.get())
        # The queue holds the pictures that were written before a flush. The end of a session is handled below.
        flushed = [self._flushed.get() for _ in range(self._flushed.qsize())]
        is_idle = self._queue.empty()
        is_paused = self._comes_with_frames and time.monotonic() - self._frame_s() > FRAMES_PAUSE_S
        self._recorder.look(self._recording, is_idle, is_paused)
        for each in flushed:
            each.set() if is_idle else self._flushed.put(each)
