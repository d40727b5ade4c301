"""Label the episodes of datasets whose rows tell when the task was done: the feature `next.success`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from .dataset_files import batches, open_parquet
from .dataset_info import Info
from .dataset_types import DatasetUnusable, Episode

SUCCESS, EPISODE = "next.success", "episode_index"
BATCH_ROWS = 1 << 16


def with_success(root: Path, info: Info, episodes: Sequence[Episode]) -> Iterator[Episode]:
    """Yield the episodes with the label `success`: true if it is true in any row. A label of the metadata stays."""
    if SUCCESS not in (scalar.key for scalar in info.scalars):
        yield from episodes
        return
    for path, group in groupby(episodes, lambda episode: episode.data_path):
        found = _successes(root, path)
        for episode in group:
            label = {"success": found[episode.index]} if episode.index in found else {}
            yield replace(episode, labels=label | dict(episode.labels))


def _successes(root: Path, path: Path) -> dict[int, bool]:
    """Return for each episode whether one of its rows in the file is a success; of a damaged file nothing."""
    found: dict[int, bool] = {}
    try:
        with open_parquet(root, path) as file:
            for batch in batches(file, path.name, BATCH_ROWS, [*range(file.num_row_groups)], [EPISODE, SUCCESS]):
                for index in pc.unique(batch[EPISODE]).to_pylist():
                    own = batch.filter(pc.equal(batch[EPISODE], index))[SUCCESS].cast("bool")
                    found[index] = found.get(index, False) or bool(pc.any(own).as_py())
    except (DatasetUnusable, KeyError, pa.ArrowException):  # the doctor names the file
        return {}
    return found
