"""Read a dataset with LeRobot, item by item, and compare it with the database: read_dataset.py FOLDER TRUTH.npz.

LeRobot's Python runs this file by itself (`python -I`): the top-level name `datasets` is Hugging Face's there.
"""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

MOST_FINDINGS = 10
BITS, STRIPE_PX = 12, 16
STATISTICS_BITS = 3e-6  # relative: LeRobot computes in float32
# Of 0 ... 1. Pictures are sampled, and each decoder rounds colours in its own way.
PICTURE_STATISTICS = 3 / 255
IMAGES = "observation.images."


class Episode(NamedTuple):
    number: int
    session: int
    begin_us: int
    first: int  # index of its first row
    length: int


def main() -> int:
    folder, truth_file = Path(sys.argv[1]), Path(sys.argv[2])
    truth, expected = np.load(truth_file), json.loads(truth_file.with_suffix(".json").read_text())
    is_v21 = json.loads((folder / "meta/info.json").read_text())["codebase_version"] == "v2.1"
    if is_v21:  # the newer LeRobot beside it does not read v2.1
        sys.path.insert(0, str(Path(sys.prefix, "lerobot-0.3.3")))
    tolerate_missing_operators()
    dataset = open_dataset(folder)
    findings = list(islice(compare(dataset, truth, expected), MOST_FINDINGS))
    for finding in findings:
        print(f"  {finding}")
    print(f"LeRobot {lerobot_version(is_v21)}: {len(dataset)} items, {len(findings)} findings")
    return bool(findings)


def tolerate_missing_operators() -> None:
    """Let torchvision be imported beside a torch without CUDA, whose operators are absent; the reader needs none."""
    register = torch.library.register_fake

    def lenient(*args: Any, **options: Any):
        decorate = register(*args, **options)

        def attempt(function):
            try:
                return decorate(function)
            except RuntimeError:
                return function

        return attempt

    torch.library.register_fake = lenient


def lerobot_version(is_v21: bool) -> str:
    return "0.3.3" if is_v21 else version("lerobot")


def open_dataset(folder: Path, **options: Any):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    torch.set_num_threads(1)
    info = json.loads((folder / "meta/info.json").read_text())
    steps = {"observation.state": [-1, 0], "action": [0, 1, 2]}
    steps |= {key: [-1, 0] for key in info["features"] if key.startswith(IMAGES)}
    deltas = {key: [step / info["fps"] for step in numbers] for key, numbers in steps.items()}
    return LeRobotDataset("check/check", root=folder, delta_timestamps=deltas, **options)


def compare(dataset, truth, expected: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for each difference."""
    episodes = list(episodes_of(dataset))
    found = (len(episodes), len(dataset), dataset.num_episodes, dataset.num_frames)
    if found != (expected["episodes"], expected["rows"]) * 2:
        yield f"{found} episodes and rows; {expected['episodes']} and {expected['rows']} expected"
    for episode in episodes:
        yield from compare_labels(dataset, episode, expected["sessions"][str(episode.session)])
        yield from compare_items(dataset, episode, truth, expected["sessions"][str(episode.session)])
    yield from compare_statistics(dataset, episodes)
    yield from filter_episodes(dataset, episodes)


def episodes_of(dataset) -> Iterator[Episode]:
    first = 0
    for number in range(dataset.num_episodes):
        row = dataset.meta.episodes[number]
        yield Episode(number, row["session_id"], microseconds(row["start_time"]), first, row["length"])
        first += row["length"]


def microseconds(text: str) -> int:
    return int(np.datetime64(text.removesuffix("+00:00"), "us").astype(np.int64))


def compare_labels(dataset, episode: Episode, session: dict[str, Any]) -> Iterator[str]:
    row = dataset.meta.episodes[episode.number]
    expected = {
        "robot": session["robot"],
        "task": session["task"] or "unlabelled",
        "tasks": [session["task"] or "unlabelled"],
        "success": session["success"],
        "tags": session["tags"] or [],
        "operator": session["operator"],
    }
    for name, value in expected.items():
        if row[name] != value:
            yield f"episode {episode.number}: {name} is {row[name]!r}; {value!r} expected"


def compare_items(dataset, episode: Episode, truth, session: dict[str, Any]) -> Iterator[str]:
    half_us = 500_000 // session["fps"]  # of the session, which may be faster than the dataset
    rows = np.arange(episode.length)
    seen_us = episode.begin_us + (rows * 1_000_000 + dataset.fps // 2) // dataset.fps + half_us
    frames = newest(truth[f"{episode.session}/times"], seen_us)
    yield from compare_capture_times(dataset, episode, truth[f"{episode.session}/times"][frames])
    for row in range(episode.length):
        item = dataset[episode.first + row]
        where = f"episode {episode.number}, row {row}"
        for key, value in expected_values(dataset, episode, row, frames, truth).items():
            if not is_equal(item[key], value):
                yield f"{where}: {key} is {item[key]}; {value} expected"
        yield from compare_pictures(dataset, item, episode, row, seen_us, truth, where)
        if item["task"] != (session["task"] or "unlabelled"):
            yield f"{where}: the task is {item['task']!r}"


def compare_capture_times(dataset, episode: Episode, times_us: np.ndarray) -> Iterator[str]:
    """Compare the column: in an item it is a float32 of PyTorch, which has steps of 128 s in our time."""
    if "observation.capture_time" in dataset.features:
        columns = dataset.hf_dataset.with_format(None)[episode.first : episode.first + episode.length]
        if not np.array_equal(columns["observation.capture_time"], times_us / 1e6):
            yield f"episode {episode.number}: observation.capture_time has other times than the frames"


def newest(times: np.ndarray, until: np.ndarray) -> np.ndarray:
    return np.searchsorted(times, until, side="right") - 1


def expected_values(dataset, episode: Episode, row: int, frames: np.ndarray, truth) -> dict[str, Any]:
    """Return what an item has to have: of the database, and the indexes."""
    found = {
        "timestamp": np.float32(row / dataset.fps),
        "frame_index": row,
        "episode_index": episode.number,
        "index": episode.first + row,
    }
    for key, feature in dataset.features.items():
        if key in ("observation.state", "action"):
            steps = [-1, 0] if key == "observation.state" else [0, 1, 2]
            used = frames[np.clip(row + np.array(steps), 0, episode.length - 1)]
            columns = [truth[column_of(episode, key, name)][used] for name in feature["names"]]
            found[key] = np.stack(columns, axis=-1).astype(np.float32)
            found[f"{key}_is_pad"] = [not 0 <= row + step < episode.length for step in steps]
        elif f"{episode.session}/{key}" in truth:  # a bool or a text
            found[key] = truth[f"{episode.session}/{key}"][frames[row]]
    return found


def column_of(episode: Episode, key: str, name: str) -> str:
    return f"{episode.session}/{'observation' if key == 'observation.state' else 'action'}.{name}"


def is_equal(found: Any, expected: Any) -> bool:
    """Compare bit for bit, but for the shape [1] that some versions give to a number."""
    if isinstance(found, str):
        return found == str(expected)
    return np.array_equal(np.asarray(found).reshape(-1), np.asarray(expected).reshape(-1))


def compare_pictures(dataset, item, episode: Episode, row: int, seen_us, truth, where: str) -> Iterator[str]:
    for key in dataset.meta.video_keys:
        times, numbers = truth[f"{episode.session}/pictures/{key.removeprefix(IMAGES)}"].T
        used = np.clip([row - 1, row], 0, episode.length - 1)
        expected = numbers[newest(times, seen_us[used])].tolist()
        found = [number_of(picture) for picture in item[key]]
        if found != expected:
            yield f"{where}: {key} shows the pictures {found}; {expected} expected"


def number_of(picture: torch.Tensor) -> int:
    """Return the number that a picture [3, height, width] of 0 ... 1 shows."""
    middle = picture.shape[1] // 2
    line = picture[:, middle - 8 : middle + 8].mean(dim=(0, 1))
    return sum((line[bit * STRIPE_PX + STRIPE_PX // 2] > 0.5).item() << BITS - 1 - bit for bit in range(BITS))


def compare_statistics(dataset, episodes: list[Episode]) -> Iterator[str]:
    """Compute all statistics again, by LeRobot's own functions."""
    from lerobot.datasets.compute_stats import aggregate_stats

    again = aggregate_stats([statistics_of(dataset, episode) for episode in episodes])
    largest = 0.0
    for key, expected in again.items():
        for name in set(expected) & set(dataset.meta.stats[key]):
            difference, bound = distance(key, name, dataset.meta.stats[key][name], expected)
            largest = max(largest, difference / bound)
            if difference > bound:
                yield f"statistics: {name} of {key} is {dataset.meta.stats[key][name]}; {expected[name]} expected"
    missing = {key: set(expected) - set(dataset.meta.stats[key]) for key, expected in again.items()}
    if any(missing.values()):
        yield f"statistics: {missing} are missing"
    print(f"  the largest difference of statistics is {largest:.2f} of its bound")


def statistics_of(dataset, episode: Episode) -> dict[str, Any]:
    from lerobot.datasets.compute_stats import compute_episode_stats, get_feature_stats, sample_indices

    columns = dataset.hf_dataset.with_format(None)[episode.first : episode.first + episode.length]
    numbers = {key: np.asarray(value) for key, value in columns.items() if dataset.features[key]["dtype"] != "string"}
    found = compute_episode_stats(numbers, {key: dataset.features[key] for key in numbers})
    for key in dataset.meta.video_keys:
        items = [dataset[episode.first + row][key][-1] for row in sample_indices(episode.length)]
        pictures = (torch.stack(items).numpy() * 255).round()  # float32: LeRobot 0.4.4 squares within uint8
        raw = get_feature_stats(pictures, axis=(0, 2, 3), keepdims=True)
        found[key] = {name: value if name == "count" else value[0] / 255 for name, value in raw.items()}
    return found


def distance(key: str, name: str, found, expected: dict[str, Any]) -> tuple[float, float]:
    """Return the largest difference, and what is allowed."""
    low, high, again = (np.asarray(expected[key], float) for key in ("min", "max", name))  # bools have bools
    difference = float(np.max(np.abs(np.asarray(found, float) - again)))
    if name == "count":
        return difference, 0.5
    if key.startswith(IMAGES):
        return difference, PICTURE_STATISTICS
    size = float(np.max(np.abs([low, high])))
    if name.startswith("q"):  # one bin of LeRobot's histogram
        return difference, float(np.max(high - low)) / 5000 + STATISTICS_BITS * size + 1e-9
    return difference, STATISTICS_BITS * size + 1e-9


def filter_episodes(dataset, episodes: list[Episode]) -> Iterator[str]:
    """Select by our columns, where this version of LeRobot can."""
    if not hasattr(dataset.meta, "filter_episodes"):
        return
    kind = tuple(dataset.meta.episodes[0][name] for name in ("session_id", "success"))
    chosen = open_dataset(dataset.root, episode_filter=lambda row: (row["session_id"], row["success"]) == kind)
    expected = sum(each.length for each in episodes if each.session == episodes[0].session)
    if len(chosen) != expected:
        yield f"episode_filter gives {len(chosen)} items; {expected} expected"


if __name__ == "__main__":
    sys.exit(main())
