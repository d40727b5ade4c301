"""The values that the reader of a LeRobot dataset returns: no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class DatasetUnusable(ValueError):
    """The dataset cannot be read. The message names the file or the field, and says what to do."""


class DatasetUnfinished(DatasetUnusable):
    """The dataset is being written, or its recording was killed. Opening it may succeed later."""


@dataclass(frozen=True)
class FilmSpan:
    """The part of a film file that belongs to one episode. The file may be missing: the doctor names it then."""

    path: Path
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Episode:
    """One episode of a dataset.

    `first_row` is its first row, counted over the whole dataset. `films` maps a camera's name, as the server takes it
    (`front`), to its film. `labels` has those of `success` (bool), `tags` (list of str), `operator` (str) and
    `start_time` (unix seconds) that the dataset knows.
    """

    index: int
    length: int
    first_row: int
    tasks: tuple[str, ...]
    films: Mapping[str, FilmSpan]
    labels: Mapping[str, Any]
    data_path: Path
