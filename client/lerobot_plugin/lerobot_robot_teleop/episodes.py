"""Follow the episodes of lerobot-record and lerobot-rollout. Their loops have no callbacks, but announce each phase.

lerobot's `log_say` logs these sentences with the root logger; they are the same in lerobot 0.4.4 to 0.6.1.
"""

import logging
import re
import sys
from typing import Protocol

RECORDING = re.compile(r"Recording episode (\d+)")


class Episodes(Protocol):
    """The receiver of the announcements."""

    def begin_episode(self, number: int) -> None: ...

    def begin_reset(self) -> None: ...

    def discard_episode(self) -> None: ...

    def stop(self, *, interrupted: bool) -> None: ...


class EpisodeListener(logging.Handler):
    """Calls `episodes` as lerobot announces its phases. It must be added after init_logging, which removes handlers."""

    def __init__(self, episodes: Episodes) -> None:
        super().__init__(logging.INFO)
        self._episodes = episodes

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if record.name == "root" and isinstance(record.msg, str) and not record.args:
                self._follow(record.msg)
        except Exception:  # as in each handler of logging: a record must not raise in the code that logs
            self.handleError(record)

    def _follow(self, sentence: str) -> None:
        if recording := RECORDING.fullmatch(sentence):
            self._episodes.begin_episode(int(recording[1]))
        elif sentence == "Reset the environment":
            self._episodes.begin_reset()
        elif sentence == "Re-record episode":
            self._episodes.discard_episode()
        elif sentence == "Stop recording":
            # It is announced in a `finally`: after an exception or Ctrl-C lerobot does not save the episode.
            self._episodes.stop(interrupted=sys.exc_info()[0] is not None)
