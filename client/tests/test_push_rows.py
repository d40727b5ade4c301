"""Rows become frames with every value, and keys that follow from the content."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from push_datasets import DATA, EPISODES, ROWS, V21_DATA, edit_features, edit_info, edit_table, feature, joints
from push_fixtures import LENGTHS, V3_H264, V21_AV1
from teleop_client.encoding import SESSION, encode_frame
from teleop_client.push.dataset import DatasetUnusable, open_dataset
from teleop_client.push.episode_key import session_keys
from teleop_client.push.rows import frames


@pytest.fixture
def v3(tmp_path):
    return shutil.copytree(V3_H264, tmp_path / "towels")


def all_frames(root):
    dataset = open_dataset(root)
    return [list(frames(dataset, episode)) for episode in dataset.episodes]


@pytest.mark.parametrize("root", [V3_H264, V21_AV1], ids=["v3.0", "v2.1"])
def test_it_reads_every_value_exactly(root):
    dataset = open_dataset(root)
    names = list(dataset.joint_names["observation"])
    for episode, rows in enumerate(all_frames(root)):
        assert len(rows) == LENGTHS[episode]
        for frame_index, frame in enumerate(rows):
            assert list(frame) == ["observation", "action"]
            for part, expected in zip(frame.values(), joints(episode, frame_index), strict=True):
                assert list(part) == names
                assert {type(value) for value in part.values()} == {np.float32}
                assert list(part.values()) == list(expected)


def test_joints_are_sent_with_their_shortest_digits():
    dataset = open_dataset(V3_H264)
    frame = list(frames(dataset, dataset.episodes[2]))[74]
    sent = json.loads(b"{" + encode_frame(frame["observation"], frame["action"], None, {}).data)
    assert sent["observation"] == {
        "shoulder_pan.pos": 18.745186,
        "shoulder_lift.pos": 15.615064,
        "elbow_flex.pos": 24.666666,
        "wrist_flex.pos": 10.0,
        "wrist_roll.pos": -2.4666667,
        "gripper.pos": 10.9723625,
    }
    received = [np.float32(value) for value in sent["action"].values()]
    assert received == list(joints(2, 74)[1])


def test_it_keeps_single_values_of_other_features(v3):
    edit_features(
        v3,
        observation__gripper_closed=feature("bool"),
        action__mode=feature("string"),
        observation__force=feature("float64"),
        observation__capture_time=feature("float64"),
        next__reward=feature("float32"),
        next__done=feature("bool"),
    )
    edit_table(
        v3 / DATA,
        observation__gripper_closed=[row % 2 == 0 for row in range(ROWS)],
        action__mode=["fine" if row else None for row in range(ROWS)],
        observation__force=[row / 7 for row in range(ROWS)],
        observation__capture_time=[1767600000 + row / 30 for row in range(ROWS)],
        next__reward=pa.array([row / 3 for row in range(ROWS)], pa.float32()),
        next__done=pa.array([[row == 10] for row in range(ROWS)], pa.list_(pa.bool_(), 1)),
    )
    first, second = all_frames(v3)[0][:2]
    assert first["action"]["mode"] is None
    assert (second["observation"]["gripper_closed"], second["action"]["mode"]) == (False, "fine")
    assert second["observation"]["force"] == 1 / 7
    assert len(second["observation"]) == 8  # the time of capture is no joint
    assert second["capture_time"] == 1767600000 + 1 / 30
    assert (second["next.reward"], second["next.done"]) == (np.float32(1 / 3), False)
    assert all_frames(v3)[0][10]["next.done"] is True


def test_it_gives_each_row_its_task_if_an_episode_has_several(v3):
    edit_table(v3 / DATA, task_index=[int(row >= 40) for row in range(ROWS)])
    edit_table(v3 / EPISODES, tasks=[["Fold the towel", "Put the cube into the box"], ["x"], ["x"]])
    first, second, _ = all_frames(v3)
    assert [frame["task"] for frame in first[39:41]] == ["Fold the towel", "Put the cube into the box"]
    assert "task" not in second[0]


@pytest.mark.parametrize("sizes", [[ROWS], [100, 125]], ids=["one group", "groups of other rows"])
def test_it_reads_files_whose_row_groups_are_no_episodes(v3, sizes):
    expected = all_frames(v3)
    edit_table(v3 / DATA, group_rows=sizes)
    assert all_frames(v3) == expected


def test_it_reads_the_footer_of_a_file_once_for_all_its_episodes(v3, monkeypatch):
    real, found = pq.ParquetFile, []

    def opened(path, metadata=None, **options):
        found.append((path.relative_to(v3).as_posix(), metadata is None))
        return real(path, metadata=metadata, **options)

    monkeypatch.setattr(pq, "ParquetFile", opened)
    all_frames(v3)
    assert found.count((DATA, True)) == 1
    assert found.count((DATA, False)) == len(LENGTHS)


def test_it_finds_rows_that_do_not_follow_each_other(v3):
    expected = all_frames(v3)
    order = [*range(89), 90, 89, *range(91, ROWS)]
    table = pq.read_table(v3 / DATA).take(order)
    pq.write_table(table, v3 / DATA)
    assert all_frames(v3) == expected


def test_a_missing_value_is_no_number(v3):
    lists = [[None, *range(5)], *([float(row)] * 6 for row in range(ROWS - 1))]
    edit_table(v3 / DATA, action=pa.array(lists, pa.list_(pa.float32())))
    action = all_frames(v3)[0][0]["action"]
    assert np.isnan([*action.values()]).tolist() == [True, *[False] * 5]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"episode_index": [0] * ROWS}, "has 225 rows of episode 0; 90 expected"),
        ({"episode_index": ["0"] * ROWS}, "has no column episode_index of integers"),
        ({"action": [[1.0] * 6] * 3 + [[1.0] * 5, [1.0] * 7] + [[1.0] * 6] * (ROWS - 5)}, "action has rows without 6"),
        ({"action": [None] * 2 + [[1.0] * 6] * (ROWS - 2)}, "action has rows without 6"),
        ({"action": [1.0] * ROWS}, "action is double; lists of 6 values expected"),
        ({"action": [["x"] * 6] * ROWS}, "action is string; float32 expected"),
    ],
    ids=["rows of others", "episodes as texts", "lists of other lengths", "no list", "no lists", "texts"],
)
def test_it_refuses_rows_that_are_not_as_described(v3, columns, message):
    edit_table(v3 / DATA, **columns)
    with pytest.raises(DatasetUnusable, match=message):
        all_frames(v3)


def test_it_names_a_column_that_is_missing(v3):
    edit_features(v3, next__reward=feature("float32"))
    with pytest.raises(DatasetUnusable, match=r"file-000.parquet has no column next.reward"):
        all_frames(v3)


def test_keys_are_those_of_the_content(v3, tmp_path):
    keys = session_keys(open_dataset(V3_H264))
    assert len({*keys}) == 3
    assert all(SESSION.fullmatch(key) for key in keys)
    assert session_keys(open_dataset(V21_AV1)) == keys  # another format of the same rows
    edit_info(v3, robot_type="other")
    edit_table(v3 / DATA, group_rows=[ROWS])
    moved = shutil.move(v3, tmp_path / "moved")
    assert session_keys(open_dataset(moved)) == keys


@pytest.mark.parametrize("change", ["value", "task", "fps", "name"])
def test_keys_differ_if_the_content_does(v3, change):
    before = session_keys(open_dataset(v3))
    if change == "value":
        values = [list(joints(0, row)[0]) for row in range(ROWS)]
        values[5][3] += 0.001
        edit_table(v3 / DATA, action=pa.array(values, pa.list_(pa.float32(), 6)))
    elif change == "task":
        edit_table(v3 / EPISODES, tasks=[["x"], ["y"], ["z"]])
    elif change == "fps":
        edit_info(v3, fps=15)
    else:
        edit_features(v3, action=feature(shape=(6,), names=[*"abcdef"]))
    assert {*before}.isdisjoint(session_keys(open_dataset(v3)))


def test_episodes_of_equal_content_have_different_keys(v3):
    lists = pa.array([[1.0] * 6] * ROWS, pa.list_(pa.float32(), 6))
    edit_table(
        v3 / DATA,
        action=lists,
        observation__state=lists,
        episode_index=[row // 75 for row in range(ROWS)],
    )
    edit_table(
        v3 / EPISODES,
        length=[75] * 3,
        dataset_from_index=[0, 75, 150],
        dataset_to_index=[75, 150, 225],
        tasks=[["x"], ["y"], ["x"]],
    )
    first, second, third = session_keys(open_dataset(v3))
    assert third == f"{first}-2"
    assert first != second


def test_it_has_no_key_for_an_episode_that_cannot_be_read(tmp_path):
    root = tmp_path / "towels"
    shutil.copytree(V21_AV1, root)
    (root / V21_DATA.format(1)).write_bytes(b"PAR1, but only at the beginning")
    keys = session_keys(open_dataset(root, allow_unfinished=True))
    expected = session_keys(open_dataset(V21_AV1))
    assert keys == [expected[0], None, expected[2]]
