"""`manage.py export`, from the database to a verified folder."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from datasets import build, writing
from datasets.films import encoder
from datasets.recording import pictures
from datasets.tests.entries import BEGIN_S, session_of
from datasets.tests.film_cameras import painted
from datasets.tests.film_chunks import chunk_of
from teleop.models import TeleopFrame, TeleopSession
from videos.models import VideoChunk
from videos.tests.film_files import encoded

pytestmark = [pytest.mark.django_db, pytest.mark.once]
FPS, SECONDS = 30, 2
FORMATS = ("lerobot-v3.0", "lerobot-v2.1", "mcap", "parquet")


def frame(index: int) -> dict:
    joints = {"shoulder_pan.pos": 30 * math.sin(index / FPS), "gripper.pos": index / 7}
    return {"observation": joints, "action": {name: value + 0.5 for name, value in joints.items()}}


def recorded(robot="arm", task="Fold the towel", frames=SECONDS * FPS, **fields) -> TeleopSession:
    return session_of([frame(index) for index in range(frames)], robot, FPS, meta_info={"task": task}, **fields)


def bars(number: int, width: int, height: int) -> np.ndarray:
    """Return a picture of bars that move by 8 pixels a picture."""
    line = 255 * ((np.arange(width) // 8 + number) % 4 > 1).astype(np.uint8)
    return np.broadcast_to(line[:, None], (height, width, 3)).copy()


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """Return a film at 30 pictures a second that an export copies."""
    return encoded(tmp_path_factory.mktemp("films") / "film.mp4", times=range(SECONDS * FPS), g="10", bf="0")


@pytest.fixture
def session(settings, tmp_path, film: Path) -> TeleopSession:
    settings.MEDIA_ROOT = tmp_path / "media"
    session = recorded()
    chunk_of(session, film, BEGIN_S, SECONDS)
    return session


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def report_of(folder: Path) -> dict:
    return json.loads((folder / "export/report.json").read_text())


@pytest.mark.parametrize("format_", FORMATS)
def test_it_exports_a_session_with_a_film(session, tmp_path, format_: str):
    call_command("export", tmp_path / "out", format=format_)
    report = report_of(tmp_path / "out")
    assert (report["episodes"], report["rows"]) == (1, SECONDS * FPS)
    assert report["verified"]["rows"] == SECONDS * FPS
    assert report["verified"]["pictures"] == (0 if format_ == "parquet" else SECONDS * FPS)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("format_", "width", "height"),
    [("lerobot-v3.0", 65, 49), ("lerobot-v2.1", 891, 48), ("mcap", 65, 49), ("mcap", 891, 48), ("parquet", 65, 49)],
)
def test_it_exports_a_film_of_an_odd_size(settings, tmp_path, format_: str, width: int, height: int):
    settings.MEDIA_ROOT = tmp_path / "media"
    film = painted(tmp_path / "odd.mkv", lambda number: bars(number, width, height), FPS, "ffv1", pix_fmt="yuv444p")
    chunk_of(recorded(frames=FPS), film, BEGIN_S, 1)
    call_command("export", tmp_path / "out", format=format_)
    assert report_of(tmp_path / "out")["verified"]["pictures"] == (0 if format_ == "parquet" else FPS)


def test_its_values_are_those_of_the_frames(session, tmp_path):
    call_command("export", tmp_path / "out")
    table = pq.read_table(tmp_path / "out/data/chunk-000/file-000.parquet")
    frames = TeleopFrame.objects.order_by("frame_index")
    for part, feature in (("observation", "observation.state"), ("action", "action")):
        expected = [[np.float32(value) for value in frame.data[part].values()] for frame in frames]
        assert table[feature].to_pylist() == expected


@pytest.mark.parametrize("format_", FORMATS)
def test_the_same_manifest_gives_the_same_bytes(session, tmp_path, format_: str):
    call_command("export", tmp_path / "out", format=format_)
    TeleopSession.objects.update(meta_info={"task": "relabelled since", "success": False})
    call_command("export", tmp_path / "again", manifest=tmp_path / "out/export/manifest.json")
    assert hashes(tmp_path / "again") == hashes(tmp_path / "out")


def test_it_writes_a_dataset_for_each_robot(settings, tmp_path):
    for robot in ("arm-1", "arm-2"):
        recorded(robot)
    call_command("export", tmp_path / "out", split_by="robot")
    assert [report_of(tmp_path / "out" / robot)["episodes"] for robot in ("arm-1", "arm-2")] == [1, 1]


def test_it_selects_by_the_filters_of_the_sessions(tmp_path):
    recorded(task="Fold the towel")
    chosen = recorded(task="Pour the water")
    call_command("export", tmp_path / "out", where="task=Pour the water")
    assert [each["session_id"] for each in report_of(tmp_path / "out")["sessions"]] == [chosen.pk]


def test_a_dry_run_writes_nothing(session, tmp_path, capsys):
    call_command("export", tmp_path / "out", dry_run=True)
    assert "1 sessions, 60 frames" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"where": "colour=red"}, "colour"),
        ({"where": "task=Nothing of that name"}, "no session"),
        ({"session_ids": [987]}, "987"),
        ({"fps": 60}, "fps is 60; at most 30 expected"),
        ({"max_gap_s": 0.0}, "max_gap_s is 0.0; a number from 0.001 to 60.0 expected"),
        ({"cameras": ("wrist",)}, "wrist"),
        ({"modality": True}, "modality is True; false, or format lerobot-v2.1, expected"),
    ],
)
def test_it_refuses_a_bad_selection_or_option(session, tmp_path, options: dict, problem: str):
    with pytest.raises(CommandError, match=problem):
        call_command("export", tmp_path / "out", **{"sessions": options.pop("session_ids", None)} | options)
    assert not list(tmp_path.glob("out*"))


def test_it_refuses_a_folder_that_is_not_empty(session, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="a new or an empty folder expected"):
        call_command("export", tmp_path)


def test_it_uses_an_empty_folder(session, tmp_path):
    (tmp_path / "out").mkdir()
    call_command("export", tmp_path / "out")
    assert report_of(tmp_path / "out")["episodes"] == 1


def test_it_keeps_nothing_if_the_film_is_missing(session, tmp_path):
    VideoChunk.objects.get().path.unlink()
    with pytest.raises(CommandError, match="missing"):
        call_command("export", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_it_keeps_nothing_if_a_value_differs_from_the_recording(session, tmp_path, monkeypatch):
    def altered(*arguments) -> np.ndarray:
        found = right(*arguments)
        found[17, 1] = np.nextafter(found[17, 1], np.float32(np.inf), dtype=np.float32)
        return found

    right = writing.values
    monkeypatch.setattr(writing, "values", altered)
    with pytest.raises(CommandError, match="differs from the recording"):
        call_command("export", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_it_keeps_nothing_if_a_film_has_another_size(settings, tmp_path, monkeypatch):
    settings.MEDIA_ROOT = tmp_path / "media"
    film = painted(tmp_path / "film.mkv", lambda number: bars(number, 65, 49), FPS, "ffv1", pix_fmt="yuv444p")
    chunk_of(recorded(frames=FPS), film, BEGIN_S, 1)
    for module in (encoder, pictures):
        monkeypatch.setattr(module, "even", lambda side: side - 3)
    with pytest.raises(CommandError, match=r"row 0: \[width, height\] is \[62, 46\]; \[64, 48\] expected"):
        call_command("export", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_it_keeps_nothing_if_the_disk_is_full(session, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "shortage", lambda media: "the disk has 5 bytes free")
    with pytest.raises(CommandError, match="the disk has 5 bytes free"):
        call_command("export", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("change", ["resumed", "deleted"])
def test_it_refuses_a_session_that_changes_while_it_is_read(session, tmp_path, monkeypatch, change: str):
    def read_and_change(entry):
        recording = read(entry)
        if change == "deleted":
            session.delete()
        else:
            TeleopSession.objects.update(end_time=None)
        return recording

    read = writing.read
    monkeypatch.setattr(writing, "read", read_and_change)
    with pytest.raises(CommandError, match=change):
        call_command("export", tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_a_second_process_is_refused_and_disturbs_nothing(session, tmp_path):
    with build._partial_folder(tmp_path / "out") as partial:
        (partial / "file").touch()
        with pytest.raises(CommandError, match="another process is making"):
            call_command("export", tmp_path / "out")
        assert (partial / "file").exists()


def test_it_begins_anew_after_a_killed_process(session, tmp_path):
    (tmp_path / "out.partial/meta").mkdir(parents=True)
    (tmp_path / "out.partial/meta/left").touch()
    call_command("export", tmp_path / "out")
    assert not (tmp_path / "out/meta/left").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_it_refuses_a_frozen_camera_if_asked(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "media"
    still = encoded(tmp_path / "still.mp4", times=range(SECONDS * FPS), numbers=[7] * SECONDS * FPS, g="10", bf="0")
    chunk_of(recorded(), still, BEGIN_S, SECONDS)
    with pytest.raises(CommandError, match="frozen"):
        call_command("export", tmp_path / "out", refuse=("frozen_camera",))
    call_command("export", tmp_path / "out")
    assert "frozen" in report_of(tmp_path / "out")["warnings"][0]


def test_it_uses_the_working_folder_if_it_is_empty(session, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    call_command("export", ".")
    assert report_of(tmp_path / "here")["name"] == "here"


def test_a_manifest_has_all_options(session, tmp_path):
    call_command("export", tmp_path / "out")
    manifest = tmp_path / "out/export/manifest.json"
    for option in ({"name": "other"}, {"max_gap_s": 0.5}):
        with pytest.raises(CommandError, match=r"--manifest has all options; --(name|max-gap) cannot"):
            call_command("export", tmp_path / "again", manifest=manifest, **option)


def test_a_dry_run_of_a_manifest_checks_its_sessions(session, tmp_path):
    call_command("export", tmp_path / "out")
    session.delete()
    with pytest.raises(CommandError, match="was deleted since"):
        call_command("export", tmp_path / "again", manifest=tmp_path / "out/export/manifest.json", dry_run=True)


@pytest.mark.parametrize("format_", ["lerobot-v3.0", "mcap"])  # with a grid, and without
def test_it_names_a_session_that_was_resumed_after_it_was_written(session, tmp_path, monkeypatch, format_: str):
    def resume_and_verify(*arguments):
        TeleopSession.objects.update(end_time=None)
        return verify(*arguments)

    verify = build.verify
    monkeypatch.setattr(build, "verify", resume_and_verify)
    with pytest.raises(CommandError, match=r"session \d+ \(arm, .* was resumed since it was selected, and is live"):
        call_command("export", tmp_path / "out", format=format_)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("format_", ["mcap", "parquet"])
def test_a_recording_without_a_grid_refuses_options_of_the_grid(session, tmp_path, format_: str):
    with pytest.raises(CommandError, match=f"fps is 30; nothing, as {format_} has no grid, expected"):
        call_command("export", tmp_path / "out", format=format_, fps=30)


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(CommandError, match="File name too long"):
        call_command("export", tmp_path / ("x" * 500))
