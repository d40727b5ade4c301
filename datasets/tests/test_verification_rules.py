"""The rules of the grid are stated twice; both statements give the same episodes for sessions of any kind."""

import numpy as np
import pytest

from datasets.grid.values import values
from datasets.options import Options
from datasets.tests.grid_sessions import camera, layout_of, mark, planned, recording, session, times
from datasets.verification.database import Frames
from datasets.verification.expected_values import Source, expected_vector
from datasets.verification.layout import Expected
from datasets.verification.rules import expected_episodes


def sessions(seed: int):
    """Return a session with anything that may happen: (frames, cameras, fps, fps of the rows, marks, options)."""
    random = np.random.default_rng(seed)
    fps, count = int(random.choice([1, 7, 30, 59, 60])), int(random.integers(1, 200))
    step_us = 1e6 / fps * random.choice([1, 1.01])
    times_us = times(count, 1e6 / step_us) + random.normal(0, random.choice([0, 0.1, 0.4]) * step_us, count)
    for _ in range(random.integers(0, 4)):  # gaps, and steps of the clock ahead and back
        times_us[random.integers(0, count) :] += random.choice([2e5, 3e5, 2e6, -5e4, -1.1e5, -1e6, -5e6])
    times_us = np.rint(times_us).astype(np.int64)
    columns = {"a": np.cumsum(random.normal(0, 1, count)), "b": random.normal(0, 100, count)}
    if random.random() < 0.5:
        columns["b"][random.random(count) < random.choice([0.1, 0.5])] = np.nan
    if random.random() < 0.5:
        columns["a"][count // 4 :] = 3.0
    cameras = [
        camera(name, times(90, random.choice([fps, 29.97]), begin_s=random.normal(0, 0.5)))
        for name in ["front", "wrist"][: random.integers(0, 3)]
    ]
    marks = [mark(kind, at) for kind, at in (("trim_start", 0.5), ("trim_end", 2.5)) if random.random() < 0.3]
    options = {
        "max_gap_s": float(random.choice([0.05, 0.25, 1.0])),
        "trim": tuple(each for each in ("marks", "idle") if random.random() < 0.6),
        "interpolate": ("*",) if random.random() < 0.5 else (),
    }
    frames = recording(times_us, np.cumsum(random.choice([1, 1, 1, 2], count)), **columns)
    return frames, cameras, fps, int(random.choice([fps, max(1, fps // 2)])), marks, options


def expected(frames, cameras, fps, rows_fps, marks, options):
    return list(
        expected_episodes(
            Frames(frames.indexes, frames.times_us, frames.columns),
            {each.key: each.times_us for each in cameras},
            list(frames.columns),
            session(fps, marks=tuple(marks)),
            Options(**options),
            rows_fps,
        )
    )


@pytest.mark.once
@pytest.mark.parametrize("seeds", [range(at, at + 50) for at in range(0, 200, 50)])
def test_it_finds_the_episodes_of_the_grid(seeds):
    count = 0
    for seed in seeds:
        frames, cameras, fps, rows_fps, marks, options = sessions(seed)
        episodes = planned(frames, cameras, fps, rows_fps, marks, **options).episodes
        found = expected(frames, cameras, fps, rows_fps, marks, options)
        assert [(each.begin_us, len(each.times_us)) for each in found] == [
            (each.begin_us, each.length) for each in episodes
        ], seed
        for rows, episode in zip(found, episodes, strict=True):
            shown = episode.samples | episode.pictures
            assert all((rows.shown[name] == at).all() for name, at in shown.items()), seed
            assert rows.shown.keys() == shown.keys()
        count += len(found)
    assert count > 40


@pytest.mark.once
def test_it_finds_the_values_of_the_grid():
    ambiguous = 0
    for seed in range(60):
        frames, cameras, fps, rows_fps, marks, options = sessions(seed)
        feature = layout_of(frames).features[0]
        vector = Expected(feature.key, "float32", list(feature.names), list(feature.columns))
        source_frames = Frames(frames.indexes, frames.times_us, frames.columns)
        episodes = planned(frames, cameras, fps, rows_fps, marks, **options).episodes
        for rows, episode in zip(expected(frames, cameras, fps, rows_fps, marks, options), episodes, strict=True):
            found = values(frames, episode, feature, Options(**options))
            low, high = expected_vector(
                vector, Source(source_frames, rows, Options(**options)), slice(0, episode.length)
            )
            assert ((found.view("u4") == low.view("u4")) | (found.view("u4") == high.view("u4"))).all(), seed
            ambiguous += (low != high).sum()
    assert ambiguous < 5  # of a million: a wrong value has hardly a place to hide


def test_it_knows_a_row_by_hand():
    frames = recording(times(10, 30), elbow=np.arange(10.0))
    (rows,) = expected(frames, [], 30, 15, [], {})
    assert rows.shown[""].tolist() == [0, 2, 4, 6, 8]
    assert (rows.times_us - rows.begin_us).tolist() == [0, 66667, 133333, 200000, 266667]
