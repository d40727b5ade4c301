"""Datasets are opened with what they have: episodes, films, names, labels, and what is left out."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from push_datasets import CAMERAS, DATA, EPISODES, ROWS, edit_features, edit_info, edit_table, feature
from push_fixtures import V3_H264, V21_AV1
from teleop_client.push.dataset import DatasetUnfinished, DatasetUnusable, FilmSpan, open_dataset
from teleop_client.push.dataset_info import joint_names

JOINTS = tuple(
    f"{name}.pos" for name in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
)
TOWEL, CUBE = ("Fold the towel",), ("Put the cube into the box",)


def labels(root):
    return [dict(episode.labels) for episode in open_dataset(root).episodes]


@pytest.mark.parametrize(("root", "version"), [(V3_H264, "v3.0"), (V21_AV1, "v2.1")], ids=["v3.0", "v2.1"])
def test_it_reads_the_metadata_that_lerobot_writes(root, version):
    dataset = open_dataset(root)
    assert (dataset.name, dataset.version, dataset.fps, dataset.robot_type) == (root.name, version, 30, "so_follower")
    assert dataset.joint_names == {"observation": JOINTS, "action": JOINTS}
    assert not dataset.left_out
    assert [(episode.index, episode.length, episode.first_row) for episode in dataset.episodes] == [
        (0, 90, 0),
        (1, 60, 90),
        (2, 75, 150),
    ]
    assert [episode.tasks for episode in dataset.episodes] == [TOWEL, CUBE, TOWEL]
    assert [dict(episode.labels) for episode in dataset.episodes] == [{}, {}, {}]


def test_it_finds_the_part_of_a_film_that_has_an_episode():
    films = open_dataset(V3_H264).episodes[1].films
    for camera, key in zip(("front", "wrist"), CAMERAS, strict=True):
        assert films[camera] == FilmSpan(V3_H264 / "videos" / key / "chunk-000/file-000.mp4", 3.0, 5.0)


def test_it_finds_the_film_of_an_episode_of_v21():
    episode = open_dataset(V21_AV1).episodes[2]
    assert episode.films["wrist"] == FilmSpan(V21_AV1 / f"videos/chunk-000/{CAMERAS[1]}/episode_000002.mp4", 0.0, 2.5)


def test_it_returns_the_labels_of_an_export(v3):
    begin = datetime(2026, 1, 5, 8, 0, 0, 250_000, UTC)
    edit_table(
        v3 / EPISODES,
        success=[True, False, None],
        tags=pa.array([["good", "night"], [], None], pa.list_(pa.string())),
        operator=["Ann", None, None],
        start_time=[begin.isoformat(timespec="microseconds"), None, None],
        session_key=["one", "two", "three"],
        tasks=[["Fold the towel"], ["unlabelled"], ["Fold the towel"]],
    )
    of_first = {"success": True, "tags": ["good", "night"], "operator": "Ann", "start_time": begin.timestamp()}
    assert labels(v3) == [of_first, {"success": False}, {}]
    # The export has this word for a session without a task; in other datasets it is a task.
    assert open_dataset(v3).episodes[1].tasks == ()


def test_it_returns_the_labels_of_an_export_as_v21(v21):
    path = v21 / "meta/episodes.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0] |= {"success": False, "tags": ["cut"], "operator": 7, "start_time": "yesterday"}
    rows[1]["start_time"] = "2026-01-05T08:00:00"  # of an unknown zone
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert labels(v21) == [{"success": False, "tags": ["cut"]}, {}, {}]


def test_it_takes_the_success_from_the_rows(v3):
    edit_features(v3, next__success=feature("bool"))
    edit_table(v3 / DATA, next__success=[row == 140 for row in range(ROWS)])
    assert labels(v3) == [{"success": False}, {"success": True}, {"success": False}]
    edit_table(v3 / EPISODES, success=[True, None, None])
    assert labels(v3)[0] == {"success": True}  # what people have said counts more


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a", "b"], ("a", "b")),
        ({"motors": ["a", "b"]}, ("a", "b")),
        ({"left": ["a"], "right": ["a"]}, ("left.a", "right.a")),
        ({"b": 1, "a": 0}, ("a", "b")),
        (None, ("0", "1")),
        ([], ("0", "1")),
    ],
)
def test_it_reads_the_names_of_joints_of_all_writers(given, expected):
    assert joint_names("action", given, 2) == expected


@pytest.mark.parametrize(
    "given", [["a", 1], ["a", ""], {"a": "b"}, {"a": ["x"], "b": 1}, "ab", ["a", None], 7, [["a"]]]
)
def test_it_refuses_mixed_names(given):
    with pytest.raises(DatasetUnusable, match="names of action are mixed"):
        joint_names("action", given, 2)


@pytest.mark.parametrize("given", [["a"], ["a", "b", "c"], ["a", "a"], {"motors": ["a"]}])
def test_it_refuses_names_that_are_not_one_for_each_joint(given):
    with pytest.raises(DatasetUnusable, match=r"action has 2 values, but \d names"):
        joint_names("action", given, 2)


def test_it_names_what_it_leaves_out(v3):
    picture = {"shape": (120, 160, 3), "names": ["height", "width", "channels"]}
    edit_features(
        v3,
        observation__images__depth=feature("video", info={"is_depth_map": True}, **picture),
        observation__images__old_depth=feature("video", video_info={"video.is_depth_map": True}, **picture),
        observation__images__grey=feature("video", (120, 160, 1)),
        observation__images__raw=feature("image", **picture),
        observation__environment_state=feature(shape=(3,)),
        observation__velocity=feature("complex64"),
        observation__gripper=feature("float32"),
        frames=feature("int64"),
        self=feature("int64"),
    )
    edit_features(v3, **{"observation.gripper.pos": feature(), "observation.images.a b": feature("video", **picture)})
    reasons = {
        "observation.images.depth": "film of depth",
        "observation.images.old_depth": "film of depth",
        "observation.images.grey": "film of depth",
        "observation.images.raw": "inside the Parquet files",
        "observation.images.a b": "no name that the server takes for a camera",
        "observation.environment_state": r"the shape \[3\]",
        "observation.velocity": "type 'complex64'",
        "observation.gripper.pos": "name of another value",
        "frames": "a name that a frame uses itself",
        "self": "a name that a frame uses itself",
    }
    left_out = open_dataset(v3).left_out
    assert left_out.keys() == reasons.keys()
    for key, reason in reasons.items():
        with pytest.raises(DatasetUnusable, match=reason):
            raise DatasetUnusable(left_out[key])


def test_it_leaves_out_films_without_a_path(v3):
    edit_info(v3, video_path=None)
    dataset = open_dataset(v3)
    assert {*dataset.left_out} == {*CAMERAS}
    assert not dataset.episodes[0].films


def test_it_opens_an_unfinished_dataset_if_asked(v3):
    edit_info(v3, total_episodes=4)
    with pytest.raises(DatasetUnfinished, match="total_episodes 4, but the episodes' metadata has 3"):
        open_dataset(v3)
    dataset = open_dataset(v3, allow_unfinished=True)
    assert len(dataset.episodes) == 3
    assert dataset.faults == ["meta/info.json has total_episodes 4, but the episodes' metadata has 3"]


def test_the_client_does_not_need_pyarrow():
    code = "import sys, teleop_client; print([name for name in ('pyarrow', 'av', 'numpy') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
