import hashlib
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets.formats import lerobot_v3, parquet_files
from datasets.formats.lerobot_labels import LABEL_TYPES
from datasets.formats.lerobot_v3 import LeRobotV3Writer
from datasets.options import Options
from datasets.tests.lerobot_samples import ACTION, ENTRY, LAYOUT, STATE, V3, episode_of, info_of, write, write_again
from datasets.types import Feature, Refused

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
ONE = Feature("observation.state", "float32", ("gripper.pos",), ("observation.gripper.pos",))
CLOSED = Feature("observation.gripper_closed", "bool", None, ("observation.gripper_closed",))
MODE = Feature("observation.mode", "string", None, ("observation.mode",))
CAPTURE = Feature("observation.capture_time", "float64", None, ())
ROWS = np.arange(36, dtype=np.float32).reshape(6, 6)


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    return write_again(tmp_path_factory.mktemp("again"))


def files_of(folder, *but):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*") if "videos" not in path.parts)


def test_it_writes_the_files_that_lerobot_writes(again):
    expected = [name.replace("info.json", "info.json.new") for name in files_of(V3)]

    assert files_of(again) == expected


@pytest.mark.parametrize("name", [DATA, "meta/tasks.parquet"])
def test_it_writes_the_columns_that_lerobot_writes(again, name):
    assert pq.read_schema(again / name).equals(pq.read_schema(V3 / name))


def test_it_writes_the_rows_that_lerobot_wrote(again):
    assert pq.read_table(again / DATA).equals(pq.read_table(V3 / DATA))


def test_it_writes_one_row_group_an_episode_compressed_as_lerobot_does(again):
    ours, theirs = pq.ParquetFile(again / DATA).metadata, pq.ParquetFile(V3 / DATA).metadata

    assert [ours.row_group(number).num_rows for number in range(ours.num_row_groups)] == [90, 60, 75]
    column = ours.row_group(0).column(0)
    assert (column.compression, column.encodings) == (
        theirs.row_group(0).column(0).compression,
        theirs.row_group(0).column(0).encodings,
    )


def test_it_tells_the_datasets_package_what_lerobot_tells_it(again):
    ours, theirs = (json.loads(pq.read_schema(each / DATA).metadata[b"huggingface"]) for each in (again, V3))

    assert ours["info"] == theirs["info"]


def test_it_gives_pandas_the_index_that_lerobot_gives(again):
    ours, theirs = (pq.read_schema(each / "meta/tasks.parquet").metadata[b"pandas"] for each in (again, V3))

    assert json.loads(ours) == json.loads(theirs)


def test_it_writes_the_tasks_in_the_order_of_their_first_episode(again):
    assert pq.read_table(again / "meta/tasks.parquet").equals(pq.read_table(V3 / "meta/tasks.parquet"))


def test_it_writes_the_columns_of_episodes_in_lerobots_order_and_then_the_labels(again):
    ours, theirs = pq.read_schema(again / EPISODES), pq.read_schema(V3 / EPISODES)

    assert pa.schema(list(ours)[: len(theirs)]).equals(theirs)
    assert ours.names[len(theirs) :] == list(LABEL_TYPES)


def test_it_writes_the_places_that_lerobot_wrote(again):
    names = [name for name in pq.read_schema(V3 / EPISODES).names if not name.startswith("stats/")]

    assert pq.read_table(again / EPISODES, columns=names).equals(pq.read_table(V3 / EPISODES, columns=names))


def test_it_writes_the_statistics_that_lerobot_writes(again):
    ours, theirs = (json.loads((each / "meta/stats.json").read_text()) for each in (again, V3))

    assert ours.keys() == theirs.keys()
    for feature, expected in theirs.items():
        for key, value in expected.items():
            assert np.array(ours[feature][key]) == pytest.approx(np.array(value), rel=2e-6, abs=2e-6), (feature, key)


def test_it_writes_the_info_that_lerobot_writes(again):
    ours, theirs = info_of(again), info_of(V3)
    encoder = {"g", "crf", "preset", "fast_decode", "video_backend", "extra_options"}
    for feature in theirs["features"].values():
        for name in encoder:  # of its own encoder
            feature.get("info", {}).pop(f"video.{name}", None)

    assert ours == theirs


def test_it_writes_plain_values_where_the_shape_is_one(tmp_path):
    features = {
        ONE: ROWS[:, :1],
        CLOSED: np.array([True, False] * 3),
        MODE: np.array(["auto", "manual"] * 3, object),
        CAPTURE: np.arange(6) + 1.7e9,
    }

    write(tmp_path, features)

    schema = pq.read_schema(tmp_path / DATA)
    assert schema.types[:4] == [pa.float32(), pa.bool_(), pa.string(), pa.float64()]
    assert pq.read_table(tmp_path / DATA)["observation.mode"].to_pylist()[:2] == ["auto", "manual"]
    described = info_of(tmp_path)["features"]
    assert described["observation.state"] == {"dtype": "float32", "shape": [1], "names": ["gripper.pos"]}
    assert described["observation.gripper_closed"] == {"dtype": "bool", "shape": [1], "names": None}


def test_it_gives_no_statistics_of_texts(tmp_path):
    write(tmp_path, {STATE: ROWS, MODE: np.array(["auto"] * 6, object)})

    assert "observation.mode" not in json.loads((tmp_path / "meta/stats.json").read_text())
    assert not [name for name in pq.read_schema(tmp_path / EPISODES).names if "observation.mode" in name]


def test_it_writes_the_labels_of_the_session(tmp_path):
    write(tmp_path, {STATE: ROWS})

    row = pq.read_table(tmp_path / EPISODES, columns=list(LABEL_TYPES)).to_pylist()[0]
    assert row == {
        "session_id": 17,
        "session_key": "key-17",
        "robot": "arm",
        "task": "Fold the towel",
        "success": True,
        "tags": ["good", "night"],
        "operator": "Ann",
        "start_time": "2026-01-05T08:00:00.000000+00:00",
        "quality.idle_share": 0.25,
        "quality.jerk": 3.0,
        "quality.fps_jitter": None,
        "quality.missing_frames": None,
    }


def test_it_gives_each_episode_of_a_session_its_own_start_time(tmp_path):
    write(tmp_path, {STATE: ROWS}, [ENTRY, ENTRY])

    times = pq.read_table(tmp_path / EPISODES)["start_time"].to_pylist()
    assert times == ["2026-01-05T08:00:00.000000+00:00", "2026-01-05T08:00:01.000000+00:00"]


def test_it_writes_null_for_a_session_without_labels(tmp_path):
    write(tmp_path, {STATE: ROWS}, [replace(ENTRY, success=None, operator=None, tags=(), task="")])

    row = pq.read_table(tmp_path / EPISODES).to_pylist()[0]
    assert (row["success"], row["operator"], row["tags"]) == (None, None, [])
    assert (row["task"], row["tasks"]) == ("unlabelled", ["unlabelled"])


def test_it_makes_a_split_of_the_validation_sessions(tmp_path):
    write(tmp_path, {STATE: ROWS}, [ENTRY, ENTRY, replace(ENTRY, is_validation=True)])

    assert info_of(tmp_path)["splits"] == {"train": "0:2", "validation": "2:3"}


def test_it_refuses_a_validation_session_among_the_others(tmp_path):
    with pytest.raises(ValueError, match="validation"):
        write(tmp_path, {STATE: ROWS}, [replace(ENTRY, is_validation=True), ENTRY])


def test_it_begins_a_new_data_file_before_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot_v3, "DATA_FILE_MB", 0.01)
    rows = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)

    write(tmp_path, {STATE: rows}, [ENTRY] * 5)

    episodes = pq.read_table(tmp_path / EPISODES).to_pylist()
    assert [row["data/file_index"] for row in episodes] == [0, 1, 2, 3, 4]
    tables = [pq.read_table(path)["index"].to_pylist() for path in sorted(tmp_path.glob("data/*/*"))]
    assert [table[0] for table in tables] == [row["dataset_from_index"] for row in episodes]


def test_it_begins_a_new_chunk_after_its_last_file(tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot_v3, "FILES_PER_CHUNK", 2)
    writer = LeRobotV3Writer(tmp_path, LAYOUT, 30, Options())

    path = writer.film_path("observation.images.front", 5)

    assert str(path.relative_to(tmp_path)) == "videos/observation.images.front/chunk-002/file-001.mp4"


def test_it_keeps_a_row_for_each_of_many_episodes(tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot_v3, "BUFFERED_EPISODES", 3)

    write(tmp_path, {ONE: ROWS[:2, :1]}, [ENTRY] * 7)

    assert pq.read_table(tmp_path / EPISODES)["episode_index"].to_pylist() == list(range(7))


def test_it_names_the_file_of_each_row_of_episodes(tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot_v3, "BUFFERED_EPISODES", 1)
    monkeypatch.setattr(lerobot_v3, "DATA_FILE_MB", 0.001)

    write(tmp_path, {ONE: ROWS[:2, :1]}, [ENTRY] * 3)

    files = sorted(tmp_path.glob("meta/episodes/*/*"))
    assert len(files) == 3
    assert [pq.read_table(path)["meta/episodes/file_index"].to_pylist() for path in files] == [[0], [1], [2]]


def test_it_writes_the_same_bytes_again(tmp_path):
    def digest(name):
        folder = write(tmp_path / name, {STATE: ROWS, ACTION: ROWS}, [ENTRY] * 2)
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.*"))]

    assert digest("a") == digest("b")


def test_it_has_no_info_before_the_dataset_is_verified(again):
    assert not (again / "meta/info.json").exists()


def test_it_raises_for_a_feature_with_other_rows_than_the_episode(tmp_path):
    writer = LeRobotV3Writer(tmp_path, LAYOUT._replace(cameras=()), 30, Options())

    with pytest.raises(ValueError, match="action has 5 rows, and episode 0 has 6"):
        writer.add(ENTRY, episode_of(6), {"observation.state": ROWS, "action": ROWS[:5]}, {})


def test_it_refuses_a_number_beyond_float32_by_name(tmp_path):
    rows = ROWS.copy()
    rows[3, 5] = np.inf

    with pytest.raises(Refused) as caught:
        write(tmp_path, {ACTION: rows})
    assert str(caught.value) == (
        "session 17 (arm, 2026-01-05 08:00:00 UTC): action.gripper.pos is beyond the numbers of float32 at "
        "2026-01-05T08:00:00.100000Z (row 3 of episode 0); at most 3.4e+38 expected"
    )


def test_it_computes_the_times_of_films_from_integers(again):
    row = pq.read_table(again / EPISODES).to_pylist()[2]

    assert row["videos/observation.images.front/from_timestamp"] == 150 / 30
    assert row["videos/observation.images.front/to_timestamp"] == 225 / 30


def test_parquet_files_takes_one_table_however_large_it_is(tmp_path):
    files = parquet_files.ParquetFiles(lambda number: tmp_path / str(number), pa.schema({"a": pa.int64()}), 10)

    assert files.place(1000) == 0
