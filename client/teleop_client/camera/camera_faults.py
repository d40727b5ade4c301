"""Find the faults of a camera in the times of its pictures, and in repeated pictures. Pure: no clock, no I/O."""

from collections import deque
from collections.abc import Callable
from typing import Any

STOPPED_S, STOPPED_PICTURES = 2.5, 3  # the longer of both: so many seconds, or pictures that did not come
FROZEN_S = 3.0
SLOW_S, SLOW_PICTURES = 5.0, 10  # the longer of both: pictures are counted over so many seconds, or promised pictures
SLOW = 0.8  # of the promised rate
PAUSE_S = 0.9  # after it a camera may have stopped or be frozen; then it is not called slow meanwhile
OVER_S = 5.0  # a fault that is absent for so long is over, and is reported again if it returns


class Faults:
    """The faults of one camera: `stopped`, `frozen`, `resized` and `slow`. Each is reported once until it is over.

    `report` gets the fault's name and its facts, a dict with a sentence in `text`. Times are in seconds of any clock
    that runs steadily.
    """

    def __init__(self, fps: float | None, report: Callable[[str, dict[str, Any]], None]) -> None:
        self._fps, self._report = fps, report
        self.stopped_s = max(STOPPED_S, STOPPED_PICTURES / fps) if fps else STOPPED_S
        self._slow_s = max(SLOW_S, SLOW_PICTURES / fps) if fps else SLOW_S
        self._seen: dict[str, float] = {}  # the present faults, and when each was last found
        self.begin()

    def begin(self) -> None:
        """Forget everything: a session begins."""
        self._seen.clear()
        self._last_s = self._changed_s = self._since_s = None
        self._recent: deque[float] = deque()

    _last_s: float | None  # of the last picture
    _changed_s: float | None  # of the last picture that was not identical with the one before
    _since_s: float | None  # since then pictures come

    def picture(self, now: float, *, is_new: bool, is_identical: bool) -> None:
        """Note a picture. It is not new if the camera's last one was delivered again."""
        if self._since_s is None:
            self._since_s = now
        if not is_identical or self._changed_s is None:
            self._changed_s = now
        if is_new:
            self._recent.append(now)
        self._last_s = now

    def resized(self, now: float, before: tuple[int, int], after: tuple[int, int]) -> None:
        text = "its pictures were {}x{} and are {}x{}".format(*before, *after)
        self._judge("resized", True, now, text, {"before": list(before), "after": list(after)})

    def pause(self, now: float) -> None:
        """Forgive missing pictures up to now, and begin to count from here."""
        if self._last_s is not None:
            self._last_s = self._changed_s = now
            self._since_s = None
            self._recent.clear()

    def look(self, now: float) -> None:
        """Report faults that have begun."""
        if self._last_s is None or self._changed_s is None:
            return
        silent_s, identical_s = now - self._last_s, self._last_s - self._changed_s
        is_stopped, is_frozen = silent_s > self.stopped_s, identical_s > FROZEN_S
        self._judge("stopped", is_stopped, now, f"it has sent no picture for {silent_s:.1f} s", {})
        self._judge("frozen", is_frozen, now, f"all its pictures are identical for {identical_s:.1f} s", {})
        self._judge("resized", False, now, "", {})
        if is_stopped or is_frozen:
            self._since_s = None  # the next picture begins to count anew
            self._recent.clear()
        elif self._fps and self._since_s is not None and max(silent_s, identical_s) < max(PAUSE_S, 2 / self._fps):
            while self._recent and self._recent[0] <= now - self._slow_s:
                self._recent.popleft()
            fps = len(self._recent) / self._slow_s
            is_slow = fps < SLOW * self._fps and now - self._since_s > self._slow_s
            text = f"it sends {fps:.1f} pictures per second; {self._fps:g} expected"
            self._judge("slow", is_slow, now, text, {"fps": fps, "expected_fps": self._fps})

    def _judge(self, fault: str, is_present: bool, now: float, text: str, facts: dict[str, Any]) -> None:
        if is_present:
            if fault not in self._seen:
                self._report(fault, {"text": text} | facts)
            self._seen[fault] = now
        elif now - self._seen.get(fault, now) > OVER_S:
            del self._seen[fault]
