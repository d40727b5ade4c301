"""Faults in the rows of an export, and sessions that changed: each stops it, with a finding that says where."""

import shutil
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest

from datasets.manifest import freeze
from datasets.options import Options
from datasets.tests.verified_exports import FIRST_PK, Export, store_session
from datasets.writing import write_lerobot
from teleop.models import TeleopFrame, TeleopSession

pytestmark = pytest.mark.once
DATA = "data/chunk-000/file-000.parquet"
ROW = 3 + 40  # row 3 of episode 1
WHERE = f"{DATA}: episode 1 (session {FIRST_PK + 1}), row 3: "


def test_it_finds_a_value_off_by_one_float32_step(export):
    made = export("values")
    with made.table(DATA) as columns:
        right = np.float32(columns["observation.state"][ROW][1])
        columns["observation.state"][ROW][1] = float(np.nextafter(right, np.float32(9)))
    assert made.findings() == [f"{WHERE}observation.state gripper.pos is 1.0000001; 1.0 expected"]


def test_it_finds_the_sign_of_a_zero(export):
    made = export("values")
    with made.table(DATA) as columns:
        columns["observation.state"][0][0] = -0.0
    assert "observation.state shoulder_pan.pos is -0.0; 0.0 expected" in made.findings()[0]


def test_it_finds_an_interpolated_value_off_by_one_float32_step(export):
    made = export("values", fps=29, interpolate=("gripper.pos",))
    with made.table(DATA) as columns:
        right = np.float32(columns["action"][5][1])
        columns["action"][5][1] = float(np.nextafter(right, np.float32(-9)))
    assert f"{DATA}: episode 0 (session {FIRST_PK}), row 5: action gripper.pos is " in made.findings()[0]


def interpolated_around_zero(folder) -> Export:
    """Return an export in which each second row is midway between the values -1 and 1 of a joint."""
    frames = [{"observation": {"wrist.pos": (-1.0) ** number, "elbow.pos": 0.0}} for number in range(40)]
    manifest = freeze("test", [store_session(0, "Turn", frames)], Options(fps=20, interpolate=("*",)))
    write_lerobot(manifest, folder, lambda progress: None)
    return Export(folder, manifest)


def test_it_accepts_an_interpolated_value_near_zero(db, tmp_path):
    assert interpolated_around_zero(tmp_path).verify().rows == 27


@pytest.mark.parametrize(
    ("joint", "value", "finding"),
    [
        (0, 1e-15, "wrist.pos is 1e-15; -8.881784e-16"),
        (0, -1e-15, "wrist.pos is -1e-15; -8.881784e-16"),
        (1, -0.0, "elbow.pos is -0.0; 0.0"),
    ],
)
def test_it_finds_an_interpolated_value_beside_its_bounds(db, tmp_path, joint, value, finding):
    made = interpolated_around_zero(tmp_path)
    with made.table(DATA) as columns:
        columns["observation.state"][1][joint] = value
    assert f"row 1: observation.state {finding} expected" in made.findings()[0]


def test_it_finds_a_wrong_value_of_each_plain_column(export):
    made = export("values")
    wrong = {"index": 44, "frame_index": 4, "timestamp": 3 / 31, "episode_index": 0, "task_index": 0}
    wrong |= {"observation.is_closed": True, "action.mode": "fast"}
    with made.table(DATA) as columns:
        for name, value in wrong.items():
            columns[name][ROW] = value
    assert set(made.findings()) == {
        f"{WHERE}{finding} expected"
        for finding in (
            "index is 44; 43",
            "frame_index is 4; 3",
            "timestamp is 0.09677419; 0.1",
            "episode_index is 0; 1",
            "task_index is 0; 1",
            "observation.is_closed is True; False",
            "action.mode is 'fast'; 'slow'",
        )
    }


def test_it_finds_missing_values(export):
    made = export("values")
    with made.table(DATA) as columns:
        for name in ("index", "timestamp", "observation.is_closed", "action.mode", "action"):
            columns[name][ROW] = None
    findings = made.findings()
    assert f"{WHERE}action.mode is null; a value expected" in findings
    assert len(findings) == 5


def test_it_says_in_how_many_more_rows_a_column_differs(export):
    made = export("values")
    with made.table(DATA) as columns:
        columns["index"] = [index + (index > 41) for index in columns["index"]]  # 42 is missing
    assert made.findings()[0].endswith("row 2: index is 43; 42 expected, and 37 more rows differ")


def test_it_finds_columns_in_each_others_place(export):
    made = export("values")
    with made.table(DATA) as columns:
        columns["action"] = [values[::-1] for values in columns["action"]]
    assert [finding.split(": ")[2].split(" is ")[0] for finding in made.findings()] == [
        "action shoulder_pan.pos",
        "action gripper.pos",
    ]


def test_it_finds_a_missing_row(export):
    made = export("values")
    with made.table(DATA) as columns:
        for values in columns.values():
            values.pop()
    assert f"{DATA}: episode 1 (session {FIRST_PK + 1}) has 39 rows; 40 expected" in made.findings()


def test_it_finds_a_surplus_row(export):
    made = export("values")
    with made.table(DATA) as columns:
        for values in columns.values():
            values.append(values[-1])
    assert made.findings() == [f"{DATA} has 81 rows; 80 expected"]


def test_it_finds_a_column_of_another_type(export):
    made = export("values")
    table = pq.read_table(made.folder / DATA)
    place = table.schema.get_field_index("frame_index")
    pq.write_table(table.set_column(place, "frame_index", table["frame_index"].cast("int32")), made.folder / DATA)
    assert made.findings() == [f"{DATA}: column frame_index has the type int32; int64 expected"]


def test_it_finds_a_frame_that_changed_in_the_database(export):
    made = export("values")
    frame = TeleopFrame.objects.get(session=FIRST_PK, frame_index=7)
    frame.data["action"]["gripper.pos"] += 1e-6
    frame.save()
    assert f"episode 0 (session {FIRST_PK}), row 7: action gripper.pos is " in made.findings()[0]


def test_it_finds_a_session_that_was_resumed(export):
    made = export("values")
    session = TeleopSession.objects.get(pk=FIRST_PK)
    session.frame_count, session.end_time = 41, session.end_time + timedelta(seconds=1)
    session.save()
    assert f"session {FIRST_PK} (arm, 2026-01-05T08:00:00.000000+00:00) was resumed" in made.findings()[0]


def test_it_finds_frames_that_are_not_counted_yet(export):
    made = export("values")
    frame = TeleopFrame.objects.get(session=FIRST_PK, frame_index=39)
    frame.pk, frame.frame_index = None, 40
    frame.save()
    assert made.findings() == [f"session {FIRST_PK}: the number of its frames is 41; 40 expected"]


def test_it_finds_a_deleted_session(export):
    made = export("values")
    TeleopSession.objects.get(pk=FIRST_PK + 1).delete()
    assert "was deleted since it was selected" in made.findings()[0]


def test_it_accepts_labels_that_changed(export):
    made = export("values")
    TeleopSession.objects.update(meta_info={"task": "another one", "success": False})
    assert made.verify().rows == 80


def test_it_finds_a_gap_that_was_to_be_refused(export):
    made = export("values")
    TeleopFrame.objects.filter(session=FIRST_PK, frame_index__in=range(15, 25)).delete()
    TeleopSession.objects.filter(pk=FIRST_PK).update(frame_count=30)
    entries = (replace(made.manifest.sessions[0], frame_count=30), made.manifest.sessions[1])
    options = replace(made.manifest.options, on_gap="refuse")
    shutil.rmtree(made.folder)
    made.folder.mkdir()
    write_lerobot(replace(made.manifest, sessions=entries), made.folder, lambda progress: None)
    refusing = made._replace(manifest=replace(made.manifest, sessions=entries, options=options))
    assert refusing.findings() == [f"session {FIRST_PK} has 2 episodes, so it has a gap that is to be refused"]
