"""Parquet of several sessions: a row a frame, a column a number of any session."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets.formats import parquet
from datasets.formats.parquet import FILE_NAME, ParquetWriter
from datasets.options import Options
from datasets.recording.frames import read
from datasets.tests.frozen import entry_of, manifest_of
from datasets.types import Refused, SessionEntry
from datasets.verification import VerificationFailed
from datasets.verification.parquet import verify
from teleop.models import TeleopFrame
from teleop.tests.recordings import T0, T0_S, make_session

pytestmark = pytest.mark.django_db


def leg_data(index: int) -> dict:
    return {"observation": {"knee.pos": index / 8, "is_closed": index % 2 == 0, "mode": f"m{index}"}, "action": [0.5]}


def two_robots() -> list[SessionEntry]:
    return [
        entry_of(make_session(range(20))),
        entry_of(make_session(range(10), robot="leg", data=leg_data), success=None, is_validation=True),
    ]


def write(folder: Path, entries: list[SessionEntry]) -> pa.Table:
    with ParquetWriter(folder, Options(format="parquet")) as writer:
        for entry in entries:
            writer.add_session(entry, read(entry))
    return pq.read_table(folder / FILE_NAME)


def change(folder: Path, name: str, row: int, value) -> None:
    """Set one value of the file."""
    table = pq.read_table(folder / FILE_NAME)
    values = table[name].to_pylist()
    values[row] = value
    position = table.column_names.index(name)
    pq.write_table(table.set_column(position, name, pa.array(values, table[name].type)), folder / FILE_NAME)


def findings(folder: Path, entries: list[SessionEntry]) -> str:
    with pytest.raises(VerificationFailed) as failure:
        verify(folder, manifest_of(entries, format="parquet"))
    return "\n".join(failure.value.findings)


def test_it_writes_a_row_for_each_frame_of_all_sessions(tmp_path):
    first, second = entries = two_robots()
    table = write(tmp_path, entries)
    assert table["session_id"].to_pylist() == [first.session_id] * 20 + [second.session_id] * 10
    assert table["frame_index"].to_pylist() == [*range(20), *range(10)]
    assert table["timestamp"].to_pylist()[:2] == [T0_S, T0_S + 0.016667]


def test_it_has_the_columns_of_all_sessions_and_null_where_a_session_has_none(tmp_path):
    table = write(tmp_path, two_robots())
    assert table.column_names[3:] == [
        *("observation.shoulder_pan.pos", "observation.gripper.pos", "action.gripper.pos"),
        *("observation.knee.pos", "observation.is_closed", "observation.mode", "action.0"),
    ]
    assert table["observation.shoulder_pan.pos"].to_pylist() == [index / 4 for index in range(20)] + [None] * 10
    assert table["observation.is_closed"].to_pylist()[19:22] == [None, 1.0, 0.0]
    assert table["observation.mode"].to_pylist()[19:22] == [None, "m0", "m1"]


def test_it_keeps_the_order_of_the_indexes_if_the_clock_steps_back(tmp_path):
    session = make_session(range(4))
    late = session.frames.get(frame_index=3)
    late.timestamp = T0 - timedelta(hours=2)
    late.save()
    assert write(tmp_path, [entry_of(session)])["frame_index"].to_pylist() == [0, 1, 2, 3]


def test_it_puts_short_sessions_into_one_row_group_and_bounds_it(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "GROUP_FRAMES", 16)
    write(tmp_path, two_robots())
    metadata = pq.read_metadata(tmp_path / FILE_NAME)
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [16, 14]


def test_it_keeps_the_labels_in_the_files_metadata(tmp_path):
    _, second = json.loads(write(tmp_path, two_robots()).schema.metadata[b"sessions"])
    assert (second["robot"], second["success"], second["tags"], second["split"]) == (
        "leg",
        None,
        ["night"],
        "validation",
    )


def test_it_writes_the_same_bytes_again(tmp_path):
    entries = two_robots()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, entries)
    assert (tmp_path / "one" / FILE_NAME).read_bytes() == (tmp_path / "two" / FILE_NAME).read_bytes()


def test_it_leaves_no_other_file(tmp_path):
    write(tmp_path, two_robots())
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_it_renames_a_value_with_the_name_of_a_first_column(tmp_path):
    session = make_session(range(2), data=lambda index: {"session_id": 9, "observation": {}, "action": {}})
    entries = [entry_of(session)]
    assert write(tmp_path, entries)["frame.session_id"].to_pylist() == [9, 9]
    verify(tmp_path, manifest_of(entries, format="parquet"))


def test_it_refuses_texts_in_one_session_and_numbers_in_another(tmp_path):
    texts = make_session(range(2), data=lambda index: {"observation": {"mode": "grasp"}, "action": {}})
    numbers = make_session(range(2), data=lambda index: {"observation": {"mode": 3}, "action": {}})
    with pytest.raises(Refused, match=f"observation.mode has texts in session {texts.pk} and numbers in"):
        write(tmp_path, [entry_of(texts), entry_of(numbers)])


def test_it_refuses_more_columns_than_a_file_can_have(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_COLUMNS", 6)
    with pytest.raises(Refused, match="have 7 values with different names; at most 6 expected"):
        write(tmp_path, two_robots())


def test_it_verifies_each_value(tmp_path):
    entries, progress = two_robots(), []
    write(tmp_path, entries)
    verified = verify(tmp_path, manifest_of(entries, format="parquet"), progress.append)
    assert verified == (30, 30 * 3 + 20 * 3 + 10 * 4, 0, 1)
    assert progress[-1] == 1


@pytest.mark.parametrize(
    ("name", "row", "value", "expected"),
    [
        ("observation.shoulder_pan.pos", 19, 4.750000000000001, "frame 19 is 4.750000000000001; 4.75 expected"),
        ("observation.shoulder_pan.pos", 0, None, "frame 0 is None; 0.0 expected"),
        ("observation.shoulder_pan.pos", 0, -0.0, "frame 0 is -0.0; 0.0 expected"),
        ("observation.shoulder_pan.pos", 29, 1.0, "frame 9 is 1.0; None expected"),
        ("observation.mode", 20, "m1", "frame 0 is 'm1'; 'm0' expected"),
        ("timestamp", 1, T0_S + 0.016668, "timestamp of frame 1 is"),
        ("session_id", 3, 99999, "frame 3 is 99999;"),
    ],
)
def test_it_finds_a_changed_value(tmp_path, name, row, value, expected):
    entries = two_robots()
    write(tmp_path, entries)
    change(tmp_path, name, row, value)
    assert expected in findings(tmp_path, entries)


def test_it_finds_a_missing_row(tmp_path):
    entries = two_robots()
    table = write(tmp_path, entries)
    pq.write_table(table.slice(1), tmp_path / FILE_NAME)
    assert "the number of rows is 29; 30 expected" in findings(tmp_path, entries)


def test_it_finds_a_missing_column(tmp_path):
    entries = two_robots()
    table = write(tmp_path, entries)
    pq.write_table(table.drop_columns(["observation.mode"]), tmp_path / FILE_NAME)
    assert "frame 0 has ['observation.mode'], the file has not" in findings(tmp_path, entries)


def test_it_finds_a_label_that_is_not_that_of_the_manifest(tmp_path):
    first, second = two_robots()
    write(tmp_path, [first, second])
    changed = replace(second, task="Fold the shirt")
    assert "task in the metadata is 'Fold the towel'; 'Fold the shirt' expected" in findings(tmp_path, [first, changed])


def test_it_finds_a_frame_that_was_deleted_after_it_was_written(tmp_path):
    first, second = two_robots()
    write(tmp_path, [first, second])
    TeleopFrame.objects.filter(session_id=second.session_id, frame_index=0).delete()
    assert f"session {second.session_id}: frame_index of frame 1 is 0; 1 expected" in findings(
        tmp_path, [first, second]
    )


def test_it_finds_a_file_that_does_not_belong_there(tmp_path):
    entries = two_robots()
    write(tmp_path, entries)
    (tmp_path / "notes.txt").touch()
    assert "['frames.parquet', 'notes.txt']" in findings(tmp_path, entries)
