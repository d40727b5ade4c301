"""Any session against an obvious, slow implementation of the rules of the grid."""

from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.grid.plan import plan
from datasets.grid.times import row_times_us
from datasets.grid.values import values
from datasets.options import Options
from datasets.tests.grid_sessions import T0_US, camera, layout_of, recording, session
from datasets.types import Plan, Recording

pytestmark = pytest.mark.once
NAN = float("nan")


class Sample(NamedTuple):
    time_us: int
    position: int
    side: object = 0  # two neighbours of different sides are in different runs


class Case(NamedTuple):
    frames: Recording
    cameras: list
    marks_us: tuple[int, int]
    session_fps: int
    fps: int
    max_gap_us: int


@st.composite
def cases(draw) -> Case:
    """Return a session in which a few things go wrong at once."""
    fps = draw(st.sampled_from([5, 30, 60]))
    row_us = 10**6 // fps
    count = draw(st.integers(1, 30))
    odd = st.sampled_from([0, 1, -50_000, -400_000, 150_000, 260_000, 700_000, row_us // 2])
    times_us = T0_US + with_some(draw, np.arange(count) * row_us, odd)
    times_us += draw(st.sampled_from([0, 1, 7, 1000])) * np.arange(count) * 7919 % (row_us // 3)  # jitter
    indexes = with_some(draw, np.arange(count), st.sampled_from([1, 2, 5]))
    moved = np.maximum(np.arange(count), draw(st.sampled_from([0, 0, count // 2])))  # idle until then
    sparse = moved / 7
    for begin, length in draw(st.lists(st.tuples(st.integers(0, count), st.integers(1, 12)), max_size=2)):
        sparse[begin : begin + length] = np.nan
    frames = recording(times_us, indexes, dense=np.sin(moved), sparse=sparse)
    cameras = [camera(name, draw(pictures(times_us, row_us))) for name in draw(st.sampled_from(["", "a", "ab"]))]
    begin_us, end_us = int(times_us.min()), int(times_us.max())
    outside = (begin_us - 10**9, end_us + 10**9)
    marks = [draw(st.one_of(st.just(bound), st.just(bound), st.integers(begin_us, end_us))) for bound in outside]
    max_gap_us = draw(st.sampled_from([100_000, 250_000, 250_000, 500_000]))
    return Case(frames, cameras, tuple(marks), fps, draw(st.sampled_from([fps, fps, 5, max(1, fps // 2)])), max_gap_us)


@st.composite
def pictures(draw, times_us: np.ndarray, row_us: int) -> np.ndarray:
    step_us = draw(st.sampled_from([row_us, row_us, row_us + 1, row_us * 2, row_us - row_us // 4]))
    count = draw(st.sampled_from([0, 5, 60, 60, 60]))
    begin_us = int(times_us.min()) + draw(st.sampled_from([0, 0, 0, 7, -400_000, 400_000, row_us // 2]))
    return begin_us + with_some(draw, np.arange(count) * step_us, st.sampled_from([1, 150_000, 300_000]))


def with_some(draw, numbers: np.ndarray, steps: st.SearchStrategy[int]) -> np.ndarray:
    """Return the numbers, in a few places moved by a step together with all that follow."""
    for place, step in draw(st.lists(st.tuples(st.integers(0, 60), steps), max_size=3)):
        numbers[place:] += step
    return numbers


def runs_of(samples: list[Sample], max_gap_us: int) -> list[list[Sample]]:
    runs: list[list[Sample]] = []
    for sample in samples:
        last = runs[-1][-1] if runs else None
        if last and last.side == sample.side and sample.time_us - last.time_us <= max_gap_us:
            runs[-1].append(sample)
        else:
            runs.append([sample])
    return [run for run in runs if run[0].side is not None]


def sides_of(frames: Recording, max_gap_us: int) -> list[int | None]:
    """Return the side of each frame, and None for frames of a time that another side has too."""
    in_order = sorted(range(len(frames.indexes)), key=lambda at: frames.indexes[at])
    side, sides = 0, {}
    for before, at in zip([in_order[0], *in_order], in_order, strict=False):
        side += bool(frames.times_us[at] - frames.times_us[before] < -100_000)
        sides[at] = side
    runs = {
        each: runs_of([Sample(int(frames.times_us[at]), at) for at in sorted(sides) if sides[at] == each], max_gap_us)
        for each in set(sides.values())
    }

    def is_shared(at: int) -> bool:
        others = [run for each in runs if each != sides[at] for run in runs[each]]
        return any(run[0].time_us <= frames.times_us[at] <= run[-1].time_us for run in others)

    return [None if is_shared(at) else sides[at] for at in range(len(sides))]


def streams_of(case: Case) -> dict[str, list[list[Sample]]]:
    """Return the runs of each stream."""
    times_us = case.frames.times_us.tolist()
    sides = sides_of(case.frames, case.max_gap_us)
    frames = runs_of(
        [Sample(*each) for each in zip(times_us, range(len(times_us)), sides, strict=True)], case.max_gap_us
    )
    streams = {"": frames}
    numbers = {sample.position: number for number, run in enumerate(frames) for sample in run}
    sparse = case.frames.columns["observation.sparse"]
    if np.isnan(sparse).any():
        there = [Sample(times_us[at], at, numbers.get(at)) for at in range(len(times_us)) if not np.isnan(sparse[at])]
        streams["observation.sparse"] = runs_of(there, case.max_gap_us)
    for each in case.cameras:
        shown = [Sample(int(time_us), at) for at, time_us in enumerate(each.times_us)]
        streams[each.key] = runs_of(shown, case.max_gap_us)
    return streams


def slow_plan(case: Case) -> list[tuple[int, list[int], dict[str, list[Sample]]]]:
    """Return the episodes: begin, times of the rows, and the run of each stream."""
    half_us, streams, episodes = 500_000 // case.session_fps, streams_of(case), []
    first_us, last_us = case.marks_us
    for runs in product(*streams.values()):
        begin_us, end_us = max(run[0].time_us for run in runs), min(run[-1].time_us for run in runs)
        if max(begin_us, first_us) > min(end_us, last_us):
            continue
        low_us, high_us = max(begin_us - half_us, first_us), min(end_us + half_us, last_us)
        begins = [sample.time_us for sample in runs[0] if sample.time_us >= low_us]
        rows: list[int] = []
        while begins and (row := begins[0] + (len(rows) * 10**6 + case.fps // 2) // case.fps) <= high_us:
            rows.append(row)
        if len(rows) > 1:
            episodes.append((begins[0], rows, dict(zip(streams, runs, strict=True))))
    return sorted(episodes, key=lambda episode: episode[0])


def newest(run: list[Sample], limit_us: int) -> Sample:
    return [sample for sample in run if sample.time_us <= limit_us][-1]


def interpolated(column: np.ndarray, run: list[Sample], row_us: int, held: float) -> float:
    before = [sample for sample in run if sample.time_us <= row_us]
    after = [sample for sample in run if sample.time_us > row_us]
    if not before or not after:
        return held
    (t_a, at_a, _), (t_b, at_b, _) = before[-1], after[0]
    a, b = float(column[at_a]), float(column[at_b])
    return a + (b - a) * ((row_us - t_a) / (t_b - t_a))


def made(case: Case, **options):
    kinds = zip(("trim_start", "trim_end"), case.marks_us, strict=True)
    marks = [{"kind": kind, "timestamp": time_us / 1e6} for kind, time_us in kinds]
    options = Options(max_gap_s=case.max_gap_us / 1e6, **options)
    entry = session(case.session_fps, marks=tuple(marks))
    layout = layout_of(case.frames, case.cameras)
    return plan(case.frames, case.cameras, layout, entry, options, case.fps), layout, options


@settings(max_examples=60)
@given(cases())
def test_it_plans_the_rows_and_samples_of_the_rules(case: Case):
    half_us = 500_000 // case.session_fps
    episodes = made(case)[0].episodes
    slow = slow_plan(case)
    assert [(each.begin_us, each.length) for each in episodes] == [(begin, len(rows)) for begin, rows, _ in slow]
    for episode, (_, rows, runs) in zip(episodes, slow, strict=True):
        found = episode.samples | episode.pictures
        expected = {key: [newest(run, row + half_us).position for row in rows] for key, run in runs.items()}
        assert {key: positions.tolist() for key, positions in found.items()} == expected
        used = expected[""]
        assert episode.repeated_rows == sum(a == b for a, b in pairwise(used))
        assert episode.unused_frames == len(set(range(used[0], used[-1])) - set(used))


@settings(max_examples=40)
@given(cases())
def test_it_computes_the_values_of_the_rules(case: Case):
    half_us = 500_000 // case.session_fps
    result, layout, options = made(case, interpolate=("sparse", "dense"))
    for episode, (_, rows, runs) in zip(result.episodes, slow_plan(case), strict=True):
        table = values(case.frames, episode, layout.features[0], options)
        for number, name in enumerate(layout.features[0].columns):
            column, run = case.frames.columns[name], runs.get(name, runs[""])
            expected = [
                interpolated(column, run, row, float(column[newest(run, row + half_us).position])) for row in rows
            ]
            assert table[:, number].tolist() == np.array(expected, np.float32).tolist()


class Piece(NamedTuple):
    """A trim, or the rows of an episode, which its part may exceed."""

    begin_us: int
    end_us: int
    is_episode: bool


def pieces_of(result: Plan, frames: Recording) -> list[Piece]:
    """Return episodes and trims in the order of time, between two trims of no length at the ends of the session."""
    pieces = [Piece(each.begin_us, each.end_us, False) for each in result.trims]
    for each in result.episodes:
        pieces.append(Piece(each.begin_us, int(row_times_us(each.begin_us, each.fps, each.length)[-1]), True))
    # A trim may be shorter than the half frame by which rows exceed their part; the middles are in order even then.
    pieces.sort(key=lambda piece: piece.begin_us + piece.end_us)
    begin_us, end_us = int(frames.times_us[0]), int(frames.times_us[-1])
    return [Piece(begin_us, begin_us, False), *pieces, Piece(end_us, end_us, False)]


@settings(max_examples=100)
@given(cases(), st.booleans())
def test_it_covers_the_session_with_trims_and_episodes(case: Case, is_idle: bool):
    result = made(case, trim=("marks", "idle") if is_idle else ("marks",))[0]
    half_us, row_us = 500_000 // case.session_fps, 10**6 // case.fps + 1
    times_us = case.frames.times_us
    for one, other in pairwise(pieces_of(result, case.frames)):
        hole_us = other.begin_us - one.end_us
        if one.is_episode:
            assert -half_us <= hole_us <= row_us  # the next row would be after the end of the part
        elif other.is_episode:
            assert -half_us <= hole_us <= case.max_gap_us
            assert not ((times_us > one.end_us) & (times_us < other.begin_us)).any()  # its first row is a frame
        else:
            assert hole_us == 0
