"""MCAP of a session: its frames, events, labels and marks, as Foxglove reads them."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from mcap.reader import make_reader

from datasets.formats.mcap import image_topics
from datasets.tests.frozen import entry_of, manifest_of
from datasets.tests.mcap_files import messages, report_event, write
from datasets.verification.mcap import verify
from teleop.tests.recordings import T0, T0_S, make_session

pytestmark = [pytest.mark.django_db, pytest.mark.once]
T0_NS = T0_S * 10**9


def metadata(path: Path) -> list[tuple[str, dict[str, str]]]:
    with path.open("rb") as file:
        return [(each.name, each.metadata) for each in make_reader(file).iter_metadata()]


def test_it_writes_each_frame_as_scalars_at_its_own_time(tmp_path):
    path = write(tmp_path, entry_of(make_session(range(3))))
    assert messages(path, "/observation/state")[1] == (
        T0_NS + 16_667_000,
        1,
        {"scalars": [{"label": "shoulder_pan.pos", "value": 0.25}, {"label": "gripper.pos", "value": -1.0}]},
    )
    assert messages(path, "/action/state")[2][2] == {"scalars": [{"label": "gripper.pos", "value": 1.0}]}


def test_it_has_the_schema_of_lerobots_own_display(tmp_path):
    path = write(tmp_path, entry_of(make_session(range(3))))
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    schema = summary.schemas[1]
    pair = {"type": "object", "properties": {"label": {"type": "string"}, "value": {"type": "number"}}}
    assert (schema.name, schema.encoding) == ("lerobot.Scalars", "jsonschema")
    assert json.loads(schema.data) == {
        "type": "object",
        "title": "lerobot.Scalars",
        "properties": {"scalars": {"type": "array", "items": pair}},
    }


def test_it_compresses_chunks_and_writes_statistics_and_indexes(tmp_path):
    path = write(tmp_path, entry_of(make_session(range(3))))
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary.statistics.message_count == 6
    assert [chunk.compression for chunk in summary.chunk_indexes] == ["zstd"]
    assert len(summary.metadata_indexes) == 3


def test_it_labels_the_numbers_of_a_list_with_the_joints(tmp_path):
    session = make_session(range(2), data=lambda index: {"observation": {"joint_positions": [1, 2]}, "action": [3]})
    path = write(tmp_path, entry_of(session, joint_names=("shoulder", "elbow")))
    assert [pair["label"] for pair in messages(path, "/observation/state")[0][2]["scalars"]] == ["shoulder", "elbow"]
    assert messages(path, "/action/state")[0][2]["scalars"] == [{"label": "0", "value": 3.0}]


def test_it_leaves_out_values_that_a_frame_has_not(tmp_path):
    def data(index):
        return {"observation": {"a.pos": 1.5} if index else {}, "action": {"a.pos": None if index else 2}}

    path = write(tmp_path, entry_of(make_session(range(2), data=data)))
    assert [sequence for _, sequence, _ in messages(path, "/observation/state")] == [1]
    assert [sequence for _, sequence, _ in messages(path, "/action/state")] == [0]


def test_it_keeps_texts_and_truth_values_and_what_is_beside_the_observation(tmp_path):
    data = {"observation": {"mode": "grasp", "is_closed": True}, "action": {}, "reward": 0.5}
    path = write(tmp_path, entry_of(make_session(range(1), data=lambda index: data)))
    assert messages(path, "/observation/text")[0][2] == {"texts": [{"label": "mode", "text": "grasp"}]}
    assert messages(path, "/observation/state")[0][2] == {"scalars": [{"label": "is_closed", "value": 1.0}]}
    assert messages(path, "/frame/state")[0][2] == {"scalars": [{"label": "reward", "value": 0.5}]}


def test_it_orders_messages_by_time_if_the_clock_steps_back(tmp_path):
    session = make_session(range(3))
    session.frames.filter(frame_index=2).update(timestamp=T0 - timedelta(hours=2))
    path = write(tmp_path, entry_of(session))
    assert [sequence for _, sequence, _ in messages(path, "/observation/state")] == [2, 0, 1]


def test_it_writes_labels_and_marks_as_metadata(tmp_path):
    mark = {"timestamp": T0_S + 0.5, "kind": "trim_start"}
    path = write(tmp_path, entry_of(make_session(range(3)), marks=(mark,), note=None, tags=("night", "übung")))
    records = dict(metadata(path))
    assert records["labels"] == {
        "task": "Fold the towel",
        "success": "true",
        "operator": "ada",
        "tags": '["night", "übung"]',
    }
    assert records["mark"] == {"timestamp": f"{T0_S}.5", "kind": "trim_start"}
    assert records["session"]["start_time"] == "2023-12-23T08:00:00.000000+00:00"
    assert records["session"]["split"] == "train"


def test_it_writes_the_events_of_the_robot(tmp_path):
    session = make_session(range(3))
    report_event(session, T0 + timedelta(microseconds=7), note="cube lifted")
    path = write(tmp_path, entry_of(session))
    content = {"event_id": "mark", "kind": "mark", "detail": {"note": "cube lifted"}}
    assert messages(path, "/events") == [(T0_NS + 7000, 0, content)]


def test_it_writes_the_same_bytes_again(tmp_path):
    entry = entry_of(make_session(range(50)))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = write(tmp_path / "one", entry), write(tmp_path / "two", entry)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.once
def test_it_names_topics_of_cameras_as_lerobot_does():
    assert image_topics(["observation.images.front", "observation.images.arm.left"]) == [
        "/observation/images/front",
        "/observation/images/arm_left",
    ]


@pytest.mark.once
def test_it_keeps_topics_of_cameras_apart():
    assert image_topics(["observation.images.a.b", "observation.images.a_b"]) == [
        "/observation/images/a.b",
        "/observation/images/a_b",
    ]


def test_it_verifies_all_sessions(tmp_path):
    session, progress = make_session(range(50)), []
    report_event(session)
    entries = [entry_of(session), entry_of(make_session(range(10), robot="leg"))]
    write(tmp_path, *entries)
    assert verify(tmp_path, manifest_of(entries, format="mcap"), progress.append) == (60, 60 * 3, 0, 2)
    assert progress == sorted(progress) and progress[-1] == 1


def test_it_verifies_joint_names_and_other_values(tmp_path):
    def data(index):
        return {
            "observation": {"joint_positions": [index / 3, 2], "mode": "grasp"},
            "action": [0.1, -0.0],
            "reward": True,
        }

    entry = entry_of(make_session(range(9), data=data), joint_names=("shoulder", "elbow"))
    write(tmp_path, entry)
    assert verify(tmp_path, manifest_of([entry], format="mcap")).values == 9 * 6
