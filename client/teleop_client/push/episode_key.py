"""Give each episode a session key that follows from its content: pushed again, it is the same session."""

import hashlib
import json
from collections import Counter

from .dataset import Dataset
from .dataset_types import DatasetUnusable, Episode
from .rows import Column, columns_of

PREFIX, DIGITS = "lerobot-", 40


def session_keys(dataset: Dataset) -> list[str | None]:
    """Return the key of each episode of the dataset, or None if its rows cannot be read.

    The key follows from the rows, the tasks and the rate. Names of folders and files, times of files and the place of
    the episode in the dataset make no difference. Episodes of equal content are numbered in their order.
    """
    seen: Counter[str] = Counter()
    keys: list[str | None] = []
    for episode in dataset.episodes:
        try:
            key = _content_key(dataset, episode)
        except DatasetUnusable:
            keys.append(None)
            continue
        seen[key] += 1
        keys.append(key if seen[key] == 1 else f"{key}-{seen[key]}")
    return keys


def _content_key(dataset: Dataset, episode: Episode) -> str:
    joints = {joints.key: [joints.dtype, joints.names] for joints in dataset.info.joints}
    features = joints | {scalar.key: [scalar.dtype, None] for scalar in dataset.info.scalars}
    # One hash for each feature: then the sizes of the batches make no difference.
    digests = {key: hashlib.sha256() for key in sorted(features)}
    tasks = hashlib.sha256()
    for columns in columns_of(dataset, episode):
        for key, digest in digests.items():
            digest.update(_bytes(columns[key]))
        if len(episode.tasks) > 1:
            texts = [dataset.tasks.get(task) for task in columns["task_index"].tolist()]
            tasks.update("".join(f"{json.dumps(text)}\n" for text in texts).encode())
    content = [
        [dataset.fps, episode.length, sorted(episode.tasks), tasks.hexdigest()],
        [[key, *features[key], digest.hexdigest()] for key, digest in digests.items()],
    ]
    return PREFIX + hashlib.sha256(json.dumps(content).encode()).hexdigest()[:DIGITS]


def _bytes(values: Column) -> bytes:
    """Return the same bytes for the same values on every machine."""
    if values.dtype == object:  # texts, or bool with missing values
        return "".join(f"{json.dumps(value)}\n" for value in values.tolist()).encode()
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
