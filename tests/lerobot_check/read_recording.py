"""Read a dataset item by item with LeRobot, and write its values as arrays: read_recording.py DATASET FILE.npz.

LeRobot's Python runs this file. The arrays are `episode_index`, `observation.state`, `action`, and for each camera the
numbers that its pictures show.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).parent.parent / "datasets_check"))
from read_dataset import IMAGES, number_of

COLUMNS = ("episode_index", "frame_index", "observation.state", "action")


def main(folder: Path, file: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    torch.set_num_threads(1)
    dataset = LeRobotDataset("check/check", root=folder)
    items = [dataset[index] for index in range(len(dataset))]
    arrays = {name: np.array([np.asarray(item[name]) for item in items]) for name in COLUMNS}
    for key in dataset.meta.video_keys:
        arrays[key.removeprefix(IMAGES)] = np.array([number_of(item[key]) for item in items])
    np.savez(file, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
