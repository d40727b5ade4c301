"""Compute the values of an episode's rows from the frames of its session."""

from fnmatch import fnmatchcase

import numpy as np

from datasets.grid.interpolation import Interpolation
from datasets.grid.streams import FRAMES
from datasets.grid.times import SECOND_US, seconds_to_us
from datasets.options import Options
from datasets.types import Episode, Feature, Recording

STORED_AS = {"bool": bool, "string": object}


def values(recording: Recording, episode: Episode, feature: Feature, options: Options) -> np.ndarray:
    """Return the values of a feature for all rows of an episode.

    With names: float32 [length, names], rounded once from float64; a value beyond float32 is infinite here, and writers
    refuse it. Without: [length] of bool, of str as objects, or of float64. A float64 feature without columns is the
    time of the frame that each row takes, in unix seconds.
    """
    if not feature.columns:
        return recording.times_us[episode.samples[FRAMES]] / SECOND_US
    if feature.names is None:
        held = _held(recording, episode, feature.columns[0])
        return held.astype(STORED_AS.get(feature.dtype, feature.dtype))
    interpolation = Interpolation(recording, episode, seconds_to_us(options.max_gap_s))
    table = np.empty((episode.length, len(feature.columns)), np.float32)
    with np.errstate(over="ignore"):
        for number, (name, column) in enumerate(zip(feature.names, feature.columns, strict=True)):
            held = _held(recording, episode, column)
            is_smooth = any(fnmatchcase(text, each) for each in options.interpolate for text in (name, column))
            table[:, number] = interpolation.of(column, held) if is_smooth else held
    return table


def _held(recording: Recording, episode: Episode, column: str) -> np.ndarray:
    return recording.columns[column][episode.samples.get(column, episode.samples[FRAMES])]
