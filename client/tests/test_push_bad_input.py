"""Datasets that cannot be read, or should not be, are refused with a sentence."""

import json
import math
import os
import shutil
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from push_datasets import DATA, EPISODES, edit_features, edit_info, edit_table, feature
from push_fixtures import V3_H264, V21_AV1
from teleop_client.push import dataset_files
from teleop_client.push.dataset import DatasetUnfinished, DatasetUnusable, open_dataset
from teleop_client.push.rows import frames

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
INFO, JSONL = "meta/info.json", "meta/episodes.jsonl"
JOINTS = feature(shape=(6,), names=[*"abcdef"])


@pytest.fixture
def v3(tmp_path):
    return shutil.copytree(V3_H264, tmp_path / "towels", ignore=shutil.ignore_patterns("videos"))


@pytest.fixture
def v21(tmp_path):
    return shutil.copytree(V21_AV1, tmp_path / "towels", ignore=shutil.ignore_patterns("videos"))


def refused(root, message, kind=DatasetUnusable):
    with pytest.raises(kind, match=message):
        open_dataset(root)


def unfinished(root, message):
    refused(root, message, DatasetUnfinished)


@pytest.mark.parametrize("name", [DATA, EPISODES, "meta/tasks.parquet"])
def test_a_file_without_a_footer_is_being_written(v3, name):
    os.truncate(v3 / name, 1000)
    unfinished(v3, f"{name} has no Parquet footer")


@pytest.mark.parametrize("name", [DATA, EPISODES])
def test_an_empty_file_is_being_written(v3, name):
    os.truncate(v3 / name, 0)
    unfinished(v3, f"{name} has no Parquet footer")


def test_it_sees_a_data_file_that_no_episode_has_yet(v3):
    (v3 / "data/chunk-000/file-001.parquet").write_bytes(b"PAR1 rows")
    unfinished(v3, r"data/chunk-000/file-001.parquet has no Parquet footer")


def test_the_first_episode_of_a_recording_is_not_there_yet(v3):
    edit_info(v3, total_episodes=0, total_frames=0)
    shutil.rmtree(v3 / "data")
    shutil.rmtree(v3 / "meta/episodes")
    (v3 / "meta/tasks.parquet").unlink()
    unfinished(v3, r"meta/episodes has no files; meta/tasks.parquet is missing; it has no episodes yet")


def test_a_dataset_of_no_episodes_is_refused(v21):
    edit_info(v21, total_episodes=0, total_frames=0)
    (v21 / JSONL).write_text("")
    unfinished(v21, "it has no episodes yet")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"total_episodes": 4}, "total_episodes 4, but the episodes' metadata has 3"),
        ({"total_frames": 226}, "total_frames 226, but the episodes' metadata has 225"),
    ],
)
@pytest.mark.parametrize("version", ["v3", "v21"])
def test_totals_disagree_while_a_dataset_is_written(request, version, changes, message):
    root = request.getfixturevalue(version)
    edit_info(root, **changes)
    unfinished(root, message)


@pytest.mark.parametrize("name", ["images/front/episode-000003/frame-000000.png", "tmpabc/front_003.mp4"])
def test_temporary_files_are_those_of_a_recording(v3, name):
    (v3 / name).parent.mkdir(parents=True)
    (v3 / name).touch()
    unfinished(v3, r"has pictures of an episode that is being recorded; remove it if")


def test_a_line_that_is_being_written_is_no_damage(v21):
    with (v21 / JSONL).open("a") as file:
        file.write('{"episode_index": 3, "ta')
    unfinished(v21, r"meta/episodes.jsonl: line 4 is no JSON")


@pytest.mark.parametrize(
    "text", ["", '{"fps": 30', "no JSON", "[" * 100_000, '{"fps": ' + "9" * 5000 + "}", "\x00\xff"]
)
def test_info_that_is_no_json_is_refused(v3, text):
    (v3 / INFO).write_text(text)
    unfinished(v3, r"meta/info.json is no JSON")


def test_info_that_is_huge_is_not_read(v3):
    os.truncate(v3 / INFO, 1 << 30)
    refused(v3, f"meta/info.json is {1 << 30} bytes; at most 16777216 expected")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("v1.6", "'v1.6'; v3.0 or v2.1 expected; convert it with the scripts of lerobot"),
        ("v2.0", "'v2.0'; v3.0 or v2.1 expected; convert it"),
        ("v4.0", "'v4.0'; v3.0 or v2.1 expected; a newer teleop-client"),
        (None, "None; v3.0 or v2.1 expected"),
        (3.0, "3.0; v3.0 or v2.1 expected"),
    ],
)
def test_other_versions_are_refused_by_their_name(v3, version, message):
    edit_info(v3, codebase_version=version)
    refused(v3, f"codebase_version is {message}")


def test_the_layout_of_lance_is_refused(v3):
    edit_info(v3, storage_format="lance")
    refused(v3, "storage_format is 'lance'; only datasets in Parquet files")


def test_a_dataset_of_v1_is_refused(tmp_path):
    (tmp_path / "meta_data").mkdir()
    refused(tmp_path, "is a LeRobot dataset v1; v3.0 or v2.1 expected")


def test_a_folder_that_is_no_dataset_is_refused(tmp_path):
    unfinished(tmp_path, r"has no meta/info.json: it is no LeRobot dataset, or it is being written")
    refused(tmp_path / "nothing", "is no folder")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": 29.97}, "fps is 29.97; a whole number from 1 to 1000 expected"),
        ({"fps": "30"}, "fps is '30'"),
        ({"fps": True}, "fps is True"),
        ({"fps": 0}, "fps is 0"),
        ({"fps": 1001}, "fps is 1001"),
        ({"fps": None}, "fps is None"),
        ({"total_frames": "225"}, "total_frames is '225'"),
        ({"total_episodes": -3}, "total_episodes is -3"),
        ({"robot_type": ["arm"]}, "robot_type is list; a text expected"),
        ({"features": [1]}, "features is no object of objects"),
        ({"features": {"action": 1}}, "features is no object of objects"),
        ({"features": {}}, "neither observation.state nor action"),
        ({"features": {"action": feature("string", (6,))}}, "neither observation.state nor action"),
        ({"features": {"action": feature(shape=(2, 3))}}, "neither observation.state nor action"),
        ({"features": {"action": JOINTS | {"shape": 6}}}, "shape of action is 6"),
        ({"features": {"action": JOINTS | {"names": ["a", 5]}}}, "names of action are mixed"),
        ({"features": {"action": JOINTS | {"names": ["a"]}}}, "action has 6 values, but 1 names"),
    ],
)
def test_fields_of_another_type_are_named(v3, changes, message):
    edit_info(v3, **changes)
    refused(v3, f"meta/info.json: .*{message}")


def test_a_rate_that_is_whole_is_taken(v3):
    edit_info(v3, fps=30.0)
    assert open_dataset(v3).fps == 30


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../{chunk_index}/{file_index}.parquet", "is no path below the dataset's folder"),
        ("data/../../{file_index}.parquet", "is no path below"),
        ("/etc/passwd", "is no path below"),
        ("C:/{file_index}.parquet", "is no path below"),
        ("data\\..\\..\\x", "is no path below"),
        ("data//x", "is no path below"),
        ("data/\x00", "has characters that no path of a dataset has"),
        ("data/{chunk_index.__class__}.parquet", "data_path is .* a path with {chunk_index}, {file_index} expected"),
        ("data/{chunk_index:0999999999d}.parquet", "data_path is"),
        ("data/{0}.parquet", "data_path has .0.; only {chunk_index}, {file_index} are known"),
        ("data/{episode_index:06d}.parquet", "data_path has {episode_index:06d}; only"),
        (None, "data_path is None; a path with {chunk_index}"),
        (7, "data_path is int"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused(v3, path, message):
    edit_info(v3, data_path=path)
    refused(v3, message)


@pytest.mark.parametrize("root", ["v3", "v21"])
def test_films_that_lead_elsewhere_are_refused(request, root):
    root = request.getfixturevalue(root)
    edit_info(root, video_path="../{video_key}.mp4")
    refused(root, r"'../observation.images.front.mp4' is no path below")


def test_the_key_of_a_camera_cannot_lead_elsewhere(v3):
    edit_features(v3, **{"observation.images.../../x": feature("video", (120, 160, 3))})
    assert "observation.images.../../x" in open_dataset(v3).left_out


@pytest.mark.parametrize("name", [DATA, "data/chunk-000", "data", EPISODES, INFO, "meta", "meta/tasks.parquet"])
def test_links_are_refused(v3, tmp_path, name):
    target = tmp_path / "elsewhere"
    shutil.move(v3 / name, target)
    (v3 / name).symlink_to(target)
    refused(v3, r"is a link; links are not followed.*cp -rL")


@pytest.mark.parametrize("name", [INFO, DATA])
def test_a_pipe_is_no_file(v3, name):
    (v3 / name).unlink()
    os.mkfifo(v3 / name)
    with pytest.raises(DatasetUnusable, match=r"is no regular file|has no meta/info.json"):
        list(frames(dataset := open_dataset(v3), dataset.episodes[0]))


def write_tail(path, length, size=None):
    """Claim a footer of so many bytes; `size` makes the file larger, without bytes on the disk."""
    if size:
        os.truncate(path, size - 8)
    with path.open("r+b") as file:
        file.seek(0 if size else -8, os.SEEK_END)
        file.write(length.to_bytes(4, "little") + b"PAR1")


@pytest.mark.parametrize("name", [EPISODES, "meta/tasks.parquet"])
@pytest.mark.parametrize(
    ("length", "size"), [((1 << 32) - 1, None), (1 << 30, 10 << 30), (65 << 20, 100 << 20)], ids=str
)
def test_a_footer_that_claims_too_much_is_not_read(v3, monkeypatch, name, length, size):
    write_tail(v3 / name, length, size)
    opened = []
    real = pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", lambda path, **options: opened.append(path.name) or real(path, **options))
    refused(v3, f"{name} claims a footer of {length} bytes; at most \\d+ expected")
    assert (v3 / name).name not in opened


def test_the_rows_of_a_damaged_footer_are_not_read(v3):
    write_tail(v3 / DATA, (1 << 32) - 1)
    dataset = open_dataset(v3)
    with pytest.raises(DatasetUnusable, match=f"{DATA} claims a footer of"):
        list(frames(dataset, dataset.episodes[0]))


def test_a_footer_of_other_bytes_is_named(v3):
    size = (v3 / EPISODES).stat().st_size
    with (v3 / EPISODES).open("r+b") as file:
        file.seek(size - 1000)
        file.write(b"\xff" * 900)
    refused(v3, f"{EPISODES} has an unreadable footer")


def test_a_damaged_page_is_named(v3):
    with pq.ParquetFile(v3 / DATA) as file:
        place = file.metadata.row_group(1).column(0).data_page_offset
    with (v3 / DATA).open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 300)
    dataset = open_dataset(v3)
    assert len(list(frames(dataset, dataset.episodes[0]))) == 90
    with pytest.raises(DatasetUnusable, match=f"{DATA} has unreadable rows"):
        list(frames(dataset, dataset.episodes[1]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"length": [90, 61, 75]}, "episode 1 has the rows 90 to 150 and the length 61"),
        ({"length": [90.0, 60.0, 75.0]}, "episode 0 has the rows 0 to 90 and the length 90.0"),
        ({"episode_index": [0, None, 2]}, "episode None has the rows"),
        ({"episode_index": [-1, 1, 2]}, "episode -1 has the rows"),
        ({"tasks": ["a", "b", "c"]}, "episode 0: tasks is no list of texts"),
        ({"tasks": [[None], ["b"], ["c"]]}, "episode 0: tasks is no list of texts"),
        ({"data/chunk_index": [0, -1, 0]}, "episode 1 has the rows"),
        (
            {"videos/observation.images.front/file_index": [0, None, 0]},
            "film of observation.images.front is in chunk 0",
        ),
        ({"videos/observation.images.front/from_timestamp": [0.0, float("nan"), 5.0]}, "is from nan to 5.0 s"),
        ({"videos/observation.images.front/to_timestamp": [3.0, math.inf, 7.5]}, "is from 3.0 to inf s"),
        ({"videos/observation.images.front/to_timestamp": [3.0, 2.0, 7.5]}, "is from 3.0 to 2.0 s"),
    ],
    ids=str,
)
def test_an_impossible_episode_of_v3_is_named(v3, columns, message):
    edit_table(v3 / EPISODES, **columns)
    refused(v3, f"{EPISODES}: .*{message}")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"episode_index": [0, 1, 3]}, "the metadata has episode 3 in the place of episode 2"),
        ({"episode_index": [0, 1, 1]}, "the metadata has episode 1 in the place of episode 2"),
        (
            {"dataset_from_index": [0, 100, 150], "dataset_to_index": [90, 160, 225]},
            "episode 1 begins at row 100; 90 expected",
        ),
    ],
    ids=str,
)
def test_episodes_that_do_not_follow_each_other_are_named(v3, columns, message):
    edit_table(v3 / EPISODES, **columns)
    unfinished(v3, message)


def test_a_column_that_is_missing_is_named(v3):
    table = pq.read_table(v3 / EPISODES).drop_columns(["length"])
    pq.write_table(table, v3 / EPISODES)
    refused(v3, f"{EPISODES} has no column length")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "line 1 is list; an object expected"),
        ('{"episode_index": 0, "tasks": ["x"]}', "line 1 is incomplete: 'length'"),
        ('{"episode_index": 0, "tasks": "x", "length": 90}', "line 1 is incomplete: tasks is no list of texts"),
        ('{"episode_index": "0", "tasks": ["x"], "length": 90}', "line 1 has the episode_index '0'"),
        ('{"episode_index": 0, "tasks": ["x"], "length": -1}', "the length -1"),
        (
            '{"episode_index": 0, "tasks": ["x"], "length": 90, "x": "' + "x" * (1 << 20) + '"}',
            "line 1 is over 1048576",
        ),
    ],
    ids=range(6),
)
def test_an_impossible_episode_of_v21_is_named(v21, line, message):
    (v21 / JSONL).write_text(f"{line}\n")
    refused(v21, f"{JSONL}: .*{message}")


@pytest.mark.parametrize("task", [{"task_index": "0", "task": "x"}, {"task_index": 0}, {"task_index": 0, "task": 1}])
def test_an_impossible_task_is_named(v21, task):
    (v21 / "meta/tasks.jsonl").write_text(json.dumps(task))
    refused(v21, r"meta/tasks.jsonl has the task_index .*; a number and a text expected")


def test_an_impossible_task_of_v3_is_named(v3):
    edit_table(v3 / "meta/tasks.parquet", task=pa.array([1, 2]))
    refused(v3, r"meta/tasks.parquet has the task_index 0 with the task 1")


def test_it_reads_a_file_row_group_by_row_group(v3, monkeypatch):
    groups = []
    real = dataset_files.batches

    def batches(file, name, rows, wanted, columns):
        groups.append(wanted)
        return real(file, name, rows, wanted, columns)

    monkeypatch.setattr("teleop_client.push.rows.batches", batches)
    dataset = open_dataset(v3)
    assert len(list(frames(dataset, dataset.episodes[1]))) == 60
    assert groups == [[1]]
