"""When the rows of a dataset were recorded, in integers: LeRobot keeps only the time since an episode's begin."""

import time
from dataclasses import dataclass
from math import nan
from pathlib import Path

from ..encoding import unix_seconds
from .dataset import Dataset, DatasetUnusable, Episode


def offset_us(row: int, fps: int) -> int:
    """Return the time of a row after row 0, rounded to a microsecond, halves up."""
    return (row * 1_000_000 + fps // 2) // fps


@dataclass(frozen=True)
class RecordingTime:
    """The unix time of row 0 of the dataset, and whether it is a guess."""

    begin_us: int
    fps: int
    is_guess: bool

    @classmethod
    def of(cls, dataset: Dataset, recorded_at_s: float | None) -> "RecordingTime":
        """Return the time that the user knows, or guess: the files were complete when the last row was recorded."""
        if recorded_at_s is not None:
            return cls(round(recorded_at_s * 1e6), dataset.fps, False)
        modified_us = Path(dataset.root, "meta", "info.json").stat().st_mtime_ns // 1000
        rows = max((each.first_row + each.length for each in dataset.episodes), default=0)
        found = cls(modified_us - offset_us(rows, dataset.fps), dataset.fps, True)
        if unix_seconds(found.begin_us / 1e6) is None and any(map(found.is_guessed, dataset.episodes)):
            date = time.strftime("%Y-%m-%d", time.gmtime(modified_us / 1e6))
            raise DatasetUnusable(
                f"meta/info.json is of {date}, so the time of the recording is not known; set --recorded-at"
            )
        return found

    @property
    def guess(self) -> str:
        """Return a sentence about the guess."""
        date = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.begin_us / 1e6))
        return f"the time of row 0 is guessed from that of meta/info.json: {date}; --recorded-at sets it"

    def start_us(self, episode: Episode) -> int:
        """Return the unix time of the first row of an episode."""
        if (label_s := _label_s(episode)) is not None:
            return round(label_s * 1e6)
        return self.begin_us + offset_us(episode.first_row, self.fps)

    def is_guessed(self, episode: Episode) -> bool:
        return self.is_guess and _label_s(episode) is None


def _label_s(episode: Episode) -> float | None:
    """Return the time of an episode that the dataset knows, if the server accepts it."""
    return unix_seconds(episode.labels.get("start_time", nan))
