"""Open a LeRobot dataset, v3.0 or v2.1, without lerobot: what it has, and where its rows and pictures are.

Nothing but the metadata is read, and the column `next.success` if there is one. Memory grows by about 1 KB an episode.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from . import layout_v3, layout_v21
from .dataset_files import check_footer, safe_path
from .dataset_info import INFO, Info, read_info
from .dataset_types import DatasetUnfinished, DatasetUnusable, Episode, FilmSpan
from .success import with_success

__all__ = ["Dataset", "DatasetUnfinished", "DatasetUnusable", "Episode", "FilmSpan", "open_dataset"]

T = TypeVar("T")

MAX_EPISODES = 1_000_000
MAX_FAULTS_SHOWN = 3
# LeRobot's recorder keeps the episode that it is recording in these, below the dataset's folder.
TEMPORARY = ("images/*/*/*", "tmp*/*.mp4")
DATA_FILES = "data/*/*.parquet"
LAYOUTS = {"v3.0": layout_v3, "v2.1": layout_v21}


@dataclass(frozen=True)
class Dataset:
    """A dataset on the disk.

    `tasks` maps each task_index to its text. `faults` are sentences about a dataset that was opened though it is
    unfinished.
    """

    root: Path
    info: Info
    episodes: Sequence[Episode]
    tasks: Mapping[int, str]
    faults: Sequence[str]

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def version(self) -> str:
        return self.info.version

    @property
    def fps(self) -> int:
        return self.info.fps

    @property
    def robot_type(self) -> str | None:
        return self.info.robot_type

    @property
    def joint_names(self) -> Mapping[str, Sequence[str]]:
        """Return the names of the joints of "observation" and "action"."""
        return {joints.part: joints.names for joints in self.info.joints}

    @property
    def left_out(self) -> Mapping[str, str]:
        """Return a sentence for each feature that is not sent."""
        return self.info.left_out


def open_dataset(root: Path, allow_unfinished: bool = False) -> Dataset:
    """Read the metadata; raise DatasetUnusable with a sentence, or DatasetUnfinished if the dataset is being written.

    With `allow_unfinished` the episodes that the metadata has are returned, and what is wrong is in `faults`.
    """
    root = Path(root).resolve()
    info = read_info(root)
    layout = LAYOUTS[info.version]
    faults = [*_temporary_files(root), *_without_footers(root)]
    found = islice(_until_unfinished(layout.episodes(root, info), faults), MAX_EPISODES + 1)
    episodes = sorted(found, key=lambda episode: episode.index)
    if len(episodes) > MAX_EPISODES:
        raise DatasetUnusable(f"the dataset has over {MAX_EPISODES} episodes; at most that many expected")
    tasks = dict(_until_unfinished(layout.tasks(root), faults))
    faults += [*_wrong_totals(info, episodes), *_gaps(episodes)]
    episodes = [*with_success(root, info, episodes)]
    if faults and not allow_unfinished:
        raise DatasetUnfinished(
            "the dataset is being written, or its recording was killed (then --skip-broken sends the complete "
            f"episodes): {_shown(faults)}"
        )
    return Dataset(root, info, episodes, tasks, faults)


def _until_unfinished(items: Iterator[T], faults: list[str]) -> Iterator[T]:
    """Yield the items; if one is in an unfinished file, add the fault and end."""
    try:
        yield from items
    except DatasetUnfinished as error:
        faults.append(str(error))


def _without_footers(root: Path) -> Iterator[str]:
    """Yield a sentence for each data file that LeRobot's recorder has not closed."""
    for path in sorted(root.glob(DATA_FILES)):
        try:
            check_footer(root, safe_path(root, path.relative_to(root).as_posix()))
        except DatasetUnfinished as error:
            yield str(error)
        except DatasetUnusable:  # of one file; the doctor names its episodes
            continue


def _wrong_totals(info: Info, episodes: Sequence[Episode]) -> Iterator[str]:
    rows = sum(episode.length for episode in episodes)
    for name, total, found in (
        ("total_episodes", info.total_episodes, len(episodes)),
        ("total_frames", info.total_frames, rows),
    ):
        if total != found:
            yield f"{INFO} has {name} {total}, but the episodes' metadata has {found}"


def _gaps(episodes: Sequence[Episode]) -> Iterator[str]:
    """Yield where the indexes of the episodes are not 0, 1, 2, or their rows do not follow each other."""
    if not episodes:
        yield "it has no episodes yet"
    expected, first_row = 0, 0
    for episode in episodes:
        if episode.index != expected:
            yield f"the metadata has episode {episode.index} in the place of episode {expected}"
        elif episode.first_row != first_row:
            yield f"episode {episode.index} begins at row {episode.first_row}; {first_row} expected"
        expected, first_row = episode.index + 1, episode.first_row + episode.length


def _temporary_files(root: Path) -> Iterator[str]:
    """Yield a sentence for each kind of temporary files."""
    for pattern in TEMPORARY:
        for path in islice(root.glob(pattern), 1):
            name = path.parent.relative_to(root).as_posix()
            yield f"{name} has pictures of an episode that is being recorded; remove it if that recording was killed"


def _shown(faults: Sequence[str]) -> str:
    more = len(faults) - MAX_FAULTS_SHOWN
    return "; ".join([*faults[:MAX_FAULTS_SHOWN], *([f"and {more} more"] if more > 0 else [])])
