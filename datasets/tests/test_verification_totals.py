"""Faults in what an export says of itself: each stops it."""

import shutil

import pyarrow.parquet as pq
import pytest

from datasets.tests.verified_exports import FIRST_PK

pytestmark = pytest.mark.once

INFO = "meta/info.json.new"
KEYS = ("min", "max", "count", "mean", "std", "q01", "q10", "q50", "q90", "q99")
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
WHERE = f"meta/episodes: episode 1 (session {FIRST_PK + 1}): "


def test_it_finds_each_wrong_total(export):
    made = export("values")
    wrong = {"codebase_version": "v2.1", "robot_type": "so100", "fps": 30.0, "chunks_size": 100}
    wrong |= {"total_episodes": 3, "total_frames": 81, "total_tasks": 1, "splits": {"train": "0:1"}, "data_path": "x"}
    with made.json(INFO) as info:
        right, _ = dict(info), info.update(wrong)
    assert set(made.findings()) == {
        f"{INFO}: {name} is {value!r}; {right[name]!r} expected" for name, value in wrong.items()
    }


def test_it_finds_each_wrong_total_of_version_2_1(export):
    made = export("values", format="lerobot-v2.1")
    names = ("total_episodes", "total_frames", "total_tasks", "total_videos", "total_chunks")
    with made.json(INFO) as info:
        right, _ = dict(info), info.update({name: info[name] + 1 for name in names})
    assert set(made.findings()) == {f"{INFO}: {name} is {right[name] + 1}; {right[name]} expected" for name in names}


def test_it_finds_a_wrong_feature(export):
    made = export("values")
    wrong = {"dtype": "float64", "shape": [3], "names": ["gripper.pos", "x"]}
    with made.json(INFO) as info:
        info["features"]["action"] = wrong
    findings = made.findings()
    assert len(findings) == 3
    assert all(f"{INFO}: feature action: {name} is {value!r}; " in " ".join(findings) for name, value in wrong.items())


@pytest.mark.parametrize("is_missing", [True, False])
def test_it_finds_a_missing_and_a_surplus_feature(export, is_missing):
    made = export("values")
    with made.json(INFO) as info:
        if is_missing:
            del info["features"]["observation.is_closed"]
        else:
            info["features"]["next.reward"] = {"dtype": "float32", "shape": [1], "names": None}
    assert made.findings()[0].startswith(f"{INFO}: the list of features is ")


def test_it_finds_each_wrong_column_of_an_episode(export):
    made = export("values")
    wrong = {
        "session_id": 1,
        "session_key": "session-0",
        "robot": "leg",
        "task": "Fold the towel",
        "tasks": ["Fold the towel"],
        "success": None,
        "tags": [],
        "operator": "bob",
        "start_time": "2026-01-05T08:01:00.000001+00:00",
        "quality.idle_share": 0.5,
        "quality.jerk": None,
        "quality.missing_frames": 0.0,
        "episode_index": 2,
        "length": 39,
        "dataset_from_index": 41,
        "dataset_to_index": 81,
    }
    with made.table(EPISODES) as columns:
        for column, value in wrong.items():
            columns[column][1] = value
    findings = made.findings()
    assert len(findings) == len(wrong)
    for column, value in wrong.items():
        assert any(finding.startswith(f"{WHERE}{column} is {value!r}; ") for finding in findings)


def test_it_finds_a_wrong_label_of_version_2_1(export):
    made = export("values", format="lerobot-v2.1")
    with made.lines("meta/episodes.jsonl") as rows:
        rows[1]["success"] = None
    assert made.findings() == [f"{WHERE}success is None; True expected"]


def test_it_finds_tasks_in_each_others_place(export):
    made = export("values")
    with made.table("meta/tasks.parquet") as columns:
        columns["task"].reverse()
    assert made.findings()[0].startswith("meta/tasks: the tasks is {0: 'Put the cube', 1: 'Fold the towel'}; ")


def test_it_finds_tasks_that_readers_take_for_numbers(export):
    made = export("values")
    path = made.folder / "meta/tasks.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    assert "its pandas metadata do not say that the index is the task" in made.findings()[0]


def test_it_finds_a_wrong_file_of_an_episodes_row(export):
    made = export("values")
    with made.table(EPISODES) as columns:
        columns["meta/episodes/file_index"][1] = 1
    assert made.findings()[0].startswith(f"{WHERE}file is '{EPISODES}'; ")


def test_it_finds_a_joint_that_is_in_no_part(export):
    made = export("values", format="lerobot-v2.1", modality=True)
    assert made.verify().rows
    with made.json("meta/modality.json") as modality:
        del modality["state"]["gripper"]
    assert made.findings() == ["meta/modality.json: joints of state is [0]; [0, 1] expected"]


def test_it_finds_a_missing_and_a_surplus_episode(export):
    made = export("values")
    with made.table(EPISODES) as columns:
        last = {name: values.pop() for name, values in columns.items()}
    assert "meta/episodes has 1 episodes; one more with 40 rows" in made.findings()[0]
    with made.table(EPISODES) as columns:
        for name, values in columns.items():
            values += [last[name]] * 2
    assert "meta/episodes: the number of episodes is 3; 2 expected" in made.findings()


@pytest.mark.parametrize("feature, off", [("action", 1.0), ("timestamp", 0.1), ("observation.is_closed", -0.1)])
def test_it_finds_each_wrong_statistic_of_an_episode(export, feature, off):
    made = export("values")
    with made.table(EPISODES) as columns:
        for key in KEYS:
            columns[f"stats/{feature}/{key}"][1][-1] += 1 if key == "count" else off
    where = f"statistics of episode 1 (session {FIRST_PK + 1}): {feature}: "
    findings = made.findings()
    for key in {*KEYS} - {"q01", "q10", "q90", "q99"}:  # quantiles of few rows, in bins as wide as min and max say
        assert any(finding.startswith(f"{where}{key}, column ") for finding in findings)


def test_it_finds_each_wrong_statistic_of_the_dataset(export):
    made = export("values")
    with made.json("meta/stats.json") as statistics:
        for key in KEYS:
            statistics["action"][key][-1] *= 1.001
    findings = made.findings()
    assert [finding.split(", ")[1] for finding in findings] == [*KEYS]
    assert findings[0].startswith("meta/stats.json: action, min, column 1, is ")


def test_it_finds_a_missing_statistic(export):
    made = export("values", format="lerobot-v2.1")
    with made.lines("meta/episodes_stats.jsonl") as rows:
        del rows[0]["stats"]["action"]["std"]
    assert "action: the list of statistics is ['count', 'max', 'mean', 'min']; " in made.findings()[0]


def test_it_finds_each_missing_file(export):
    made = export("encoded")
    for path in [path for path in made.folder.rglob("*") if path.is_file()]:
        name = path.relative_to(made.folder).as_posix()
        path.rename(made.folder.parent / "moved")
        assert name.rpartition("/")[0] in " ".join(made.findings())
        (made.folder.parent / "moved").rename(path)


def test_it_finds_a_surplus_file(export):
    made = export("values")
    shutil.copy(made.folder / "data/chunk-000/file-000.parquet", made.folder / "data/chunk-000/file-001.parquet")
    assert made.findings() == ["data/chunk-000/file-001.parquet is no file of this dataset"]


def test_it_finds_a_file_that_is_cut_off(export):
    made = export("values")
    path = made.folder / "data/chunk-000/file-000.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    assert "data/chunk-000/file-000.parquet is missing or cannot be read" in made.findings()[0]
