import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from datasets.formats.lerobot_labels import LABEL_TYPES
from datasets.formats.modality import parts
from datasets.tests.lerobot_samples import ACTION, ENTRY, JOINTS, STATE, V21, info_of, json_lines, write, write_again

DATA = "data/chunk-000/episode_000001.parquet"
ROWS = np.arange(36, dtype=np.float32).reshape(6, 6)


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    return write_again(tmp_path_factory.mktemp("again"), is_v3=False)


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*") if "videos" not in path.parts)


def test_it_writes_the_files_that_lerobot_writes_and_statistics_of_all_rows(again):
    expected = [name.replace("info.json", "info.json.new") for name in files_of(V21)]

    assert files_of(again) == sorted([*expected, "meta/stats.json"])


def test_it_writes_the_rows_that_lerobot_wrote(again):
    ours, theirs = pq.read_table(again / DATA), pq.read_table(V21 / DATA)

    assert ours.equals(theirs)
    assert json.loads(ours.schema.metadata[b"huggingface"]) == json.loads(theirs.schema.metadata[b"huggingface"])


def test_it_writes_the_tasks_that_lerobot_wrote(again):
    assert (again / "meta/tasks.jsonl").read_text() == (V21 / "meta/tasks.jsonl").read_text()


def test_it_writes_the_episodes_that_lerobot_wrote_and_the_labels(again):
    for ours, theirs in zip(*(json_lines(each / "meta/episodes.jsonl") for each in (again, V21)), strict=True):
        assert {name: ours[name] for name in theirs} == theirs
        assert set(ours) - set(theirs) == set(LABEL_TYPES)


def test_it_writes_the_statistics_that_lerobot_writes(again):
    for ours, theirs in zip(*(json_lines(each / "meta/episodes_stats.jsonl") for each in (again, V21)), strict=True):
        assert list(ours["stats"]) == list(theirs["stats"])
        for feature, expected in theirs["stats"].items():
            if "images" in feature:  # those of the sample are from 0.6.1
                assert list(ours["stats"][feature]) == list(expected)
                continue
            for key, value in expected.items():
                assert ours["stats"][feature][key] == pytest.approx(value, rel=2e-6, abs=1e-6), (feature, key)


def test_it_leaves_the_quantiles_to_its_readers(again):
    found = json.loads((again / "meta/stats.json").read_text())["action"]

    assert set(found) == {"min", "max", "mean", "std", "count"}
    assert found["count"] == [225]


def test_it_writes_the_info_that_lerobot_writes(again):
    ours, theirs = info_of(again), info_of(V21)
    for info in (ours, theirs):
        for feature in info["features"].values():
            feature.pop("info", None)

    assert ours == theirs


def test_it_writes_a_film_for_each_episode(again):
    names = [str(path.relative_to(again)) for path in sorted(again.glob("videos/*/*front/*"))]

    assert names[1:] == [f"videos/chunk-000/observation.images.front/episode_00000{number}.mp4" for number in (1, 2)]


def test_it_writes_the_keys_of_films_that_its_readers_know(again):
    ours, theirs = (info_of(each)["features"]["observation.images.front"]["info"] for each in (again, V21))

    assert set(ours) == set(theirs)


def test_it_makes_a_split_of_the_validation_sessions(tmp_path):
    write(tmp_path, {STATE: ROWS}, [ENTRY, replace(ENTRY, is_validation=True)], is_v3=False)

    assert info_of(tmp_path)["splits"] == {"train": "0:1", "validation": "1:2"}


def test_it_writes_modality_only_on_request(tmp_path):
    write(tmp_path / "without", {STATE: ROWS}, is_v3=False)
    write(tmp_path / "with", {STATE: ROWS, ACTION: ROWS}, is_v3=False, modality=True)

    assert not (tmp_path / "without/meta/modality.json").exists()
    assert json.loads((tmp_path / "with/meta/modality.json").read_text()) == {
        "state": {"single_arm": {"start": 0, "end": 5}, "gripper": {"start": 5, "end": 6}},
        "action": {"single_arm": {"start": 0, "end": 5}, "gripper": {"start": 5, "end": 6}},
        "video": {},
        "annotation": {"human.task_description": {"original_key": "task_index"}},
    }


def ranges(*names):
    return {part: (place["start"], place["end"]) for part, place in parts(names).items()}


def test_it_gives_each_arm_of_two_its_parts():
    two = [f"{side}_{joint}" for side in ("left", "right") for joint in JOINTS]

    assert ranges(*two) == {
        "left_arm": (0, 5),
        "left_gripper": (5, 6),
        "right_arm": (6, 11),
        "right_gripper": (11, 12),
    }


def test_it_gives_a_base_to_wheels():
    lekiwi = [*(f"arm_{joint}" for joint in JOINTS), "x.vel", "y.vel", "theta.vel"]

    assert ranges(*lekiwi) == {"single_arm": (0, 5), "gripper": (5, 6), "base": (6, 9)}


def test_it_numbers_a_part_whose_joints_are_not_side_by_side():
    assert ranges("a.pos", "gripper.pos", "b.pos") == {"single_arm": (0, 1), "gripper": (1, 2), "single_arm_2": (2, 3)}


def test_it_gives_one_part_to_joints_without_names():
    assert ranges("joint_positions.0", "joint_positions.1") == {"single_arm": (0, 2)}
