"""Name the place of an episode's pictures in the films of a dataset. This module does not import FFmpeg."""

from typing import NamedTuple

import numpy as np


class FilmSpan(NamedTuple):
    """The pictures of one camera in one episode. Row n is shown at (first_row + n) / fps of the file."""

    file_number: int
    first_row: int
    length: int
    is_copied: bool  # all packets are those of the uploaded films
    copied_rows: int  # rows whose packets are those of the uploaded films; the others are encoded again
    stats: dict[str, np.ndarray]  # as in LeRobot's statistics: min, max, mean, std, count, q01 ... q99
    warnings: tuple[str, ...]  # sentences for the report
