"""Compare the sessions of the server with what lerobot did. Each function yields a sentence for each difference."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from tests.lerobot_check.recording import CAMERAS, FPS, JOINTS, Episode, Turn
from tests.lerobot_check.stored import Frame, Session

TIME_DIFFERENCE_S = 0.1  # between the arm's clock at the begin of get_observation, and the stream's at its end
PICTURE_DIFFERENCE_S = 0.001  # between a picture of a film and its frame
# A loop is slower if its median period is so much longer, or if so many more of its periods are late.
SLOWER_MS, LATE, LATE_PERIODS = 1.0, 0.05, 1.5


def same_turns(session: Session, turns: Sequence[Turn]) -> Iterator[str]:
    """Compare a session with these turns of lerobot's loop, each value bit for bit."""
    if session.numbers != [turn.number for turn in turns]:
        yield f"the session has the turns {spans(session.numbers)}; {spans([turn.number for turn in turns])} expected"
        return
    for frame, turn in zip(session.frames, turns, strict=True):
        for part, expected in ((frame.observation, turn.observation), (frame.action, turn.done)):
            if part != expected:
                yield f"turn {turn.number}: {different(part, expected)}; {different(expected, part)} expected"
        if not 0 <= frame.time - turn.time < TIME_DIFFERENCE_S:
            yield f"turn {turn.number}: the frame's time is {frame.time - turn.time:.3f} s after the arm's"


def different(part: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in part.items() if other.get(key) != value}


def same_episode(session: Session, episode: Episode, actions: np.ndarray) -> Iterator[str]:
    """Compare a session with an episode of lerobot's dataset, which has float32.

    `actions` are those that the session should have: lerobot records them before the arm clips them.
    """
    if session.numbers != episode.numbers:
        yield f"the session has the turns {spans(session.numbers)}; the dataset {spans(episode.numbers)}"
        return
    if not np.array_equal(_float32(session.frames, "observation"), episode.state):
        yield "observations differ from the dataset's observation.state"
    if not np.array_equal(_float32(session.frames, "action"), actions):
        yield "actions differ from the dataset's"
    if any(numbers != episode.numbers for numbers in episode.pictures.values()):
        yield "lerobot's own films have other pictures than its rows"


def actions_done(episode: Episode, turns: Sequence[Turn]) -> np.ndarray:
    """Return the actions of an episode, with those that the arm has changed as it carried them out."""
    actions = episode.action.copy()
    for row, number in enumerate(episode.numbers):
        if (turn := turns[number]).done != turn.action:
            actions[row] = [turn.done[joint] for joint in JOINTS]
    return actions


def _float32(frames: Iterable[Frame], part: str) -> np.ndarray:
    return np.array([[getattr(frame, part)[joint] for joint in JOINTS] for frame in frames], np.float32)


def is_complete(session: Session) -> Iterator[str]:
    """Check that no index is missing, and that each frame has its picture, at its time, on each camera."""
    indexes = [frame.index for frame in session.frames]
    if indexes != list(range(len(indexes))):
        yield f"the session has the indexes {spans(indexes)}"
    if sorted(session.pictures) != sorted(CAMERAS):
        yield f"the session has films of the cameras {sorted(session.pictures)}; {sorted(CAMERAS)} expected"
    times = {frame.number: frame.time for frame in session.frames}
    for camera, pictures in session.pictures.items():
        numbers = [picture.number for picture in pictures]
        if numbers != session.numbers:
            yield f"{camera} has the pictures {spans(numbers)}; {spans(session.numbers)} expected"
        late = [each for each in pictures if abs(each.time - times.get(each.number, 0)) > PICTURE_DIFFERENCE_S]
        if late:
            yield f"{camera}: {len(late)} pictures have another time than their frame, as {late[0]}"


def described(session: Session, **expected: Any) -> Iterator[str]:
    """Check values of meta_info; None is a key that is missing."""
    for key, value in expected.items():
        if session.meta_info.get(key) != value:
            yield f"meta_info.{key} is {session.meta_info.get(key)!r}; {value!r} expected"


def holds_its_rate(turns: Sequence[Turn], plain: Sequence[Turn]) -> Iterator[str]:
    """Compare the periods of lerobot's loop with those of a run without the stream."""
    rate, expected = rate_of(turns), rate_of(plain)
    print(f"  lerobot's loop: {rate}\n  without the stream: {expected}")
    if rate.median_ms > expected.median_ms + SLOWER_MS or rate.late > expected.late + LATE:
        yield f"lerobot's loop is slower: {rate}; without the stream {expected}"


class Rate(NamedTuple):
    """The periods of a loop."""

    median_ms: float
    longest_ms: float
    late: float  # the share of periods that are longer than LATE_PERIODS of the expected one

    def __str__(self) -> str:
        return f"median {self.median_ms:.2f} ms, longest {self.longest_ms:.1f} ms, {self.late:.1%} late"


def rate_of(turns: Sequence[Turn]) -> Rate:
    periods_ms = [1000 * (after.time - before.time) for before, after in pairwise(turns)]
    late = sum(period > LATE_PERIODS * 1000 / FPS for period in periods_ms) / len(periods_ms)
    return Rate(median(periods_ms), max(periods_ms), late)


def spans(numbers: Sequence[int]) -> str:
    """Write ascending runs of numbers as `0-89, 120-209`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    shown = ", ".join("-".join(map(str, run)) for run in runs[:8])
    return f"{shown} ..." if len(runs) > 8 else shown or "none"
