"""The report of a dataset: JSON for programs, HTML for people, and the manifest beside them."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from datasets import report_page
from datasets.films.span import FilmSpan
from datasets.manifest import Manifest
from datasets.options import Options
from datasets.report import make_report, write_report
from datasets.types import Episode, Plan, SessionEntry, Trim
from datasets.verification.findings import Verified

pytestmark = pytest.mark.once
BEGIN_US = 1_703_318_400_000_000
CAMERA = "observation.images.front"
ENTRY = SessionEntry(
    session_id=17,
    key="morning-run",
    robot="arm",
    robot_type=None,
    fps=30,
    frame_count=90,
    start_time="2023-12-23T08:00:00.000000+00:00",
    end_time="2023-12-23T08:00:03.000000+00:00",
    task="Fold the towel",
    success=True,
    tags=(),
    operator=None,
    note=None,
    quality={},
    clock_steps=(),
    marks=(),
    films=(),
    values_sha256="ab12",
)
NONE = np.empty(0, np.int64)


def episode(number: int, length: int = 30) -> Episode:
    return Episode(
        session_id=17,
        number=number,
        begin_us=BEGIN_US + number * 1_500_000,
        fps=30,
        length=length,
        samples={"": NONE},
        pictures={CAMERA: NONE},
        repeated_rows=2,
        unused_frames=1,
        largest_offset_us=4321 * (number + 1),
        repeated_pictures={CAMERA: 3},
        unused_pictures={CAMERA: 1},
    )


def trim(reason: str = "gap", seconds: float = 0.5) -> Trim:
    return Trim(BEGIN_US + 1_000_000, BEGIN_US + 1_000_000 + int(seconds * 1e6), reason)


def span(copied: int, *warnings: str) -> dict[str, FilmSpan]:
    return {CAMERA: FilmSpan(0, 0, 30, copied == 30, copied, {}, warnings)}


def manifest(*entries: SessionEntry, **options: Any) -> Manifest:
    return Manifest("towels", Options(**options), entries, "1.2+abc", "2026-11-22T08:00:00+00:00")


def written(*plans: Plan, spans=None, entries=(ENTRY,)) -> SimpleNamespace:
    spans = spans if spans is not None else [[{} for _ in plan.episodes] for plan in plans]
    return SimpleNamespace(entries=list(entries), plans=list(plans), spans=spans)


def made(folder: Path, *plans: Plan, entries=(ENTRY,), spans=None, **options: Any) -> dict[str, Any]:
    source = written(*plans, spans=spans, entries=entries)
    return make_report(manifest(*entries, **options), source, Verified(60, 720, 60, 5), folder)


def page(folder: Path, *plans: Plan, entries=(ENTRY,), **options: Any) -> str:
    write_report(folder, manifest(*entries, **options), made(folder, *plans, entries=entries, **options))
    return (folder / "export/report.html").read_text()


def test_it_adds_up_episodes_rows_and_hours(tmp_path):
    report = made(tmp_path, Plan([episode(0), episode(1, 60)], [], []))
    assert (report["episodes"], report["rows"], report["seconds"], report["hours"]) == (2, 90, 3.0, 0.000833)


def test_it_adds_up_fills(tmp_path):
    report = made(tmp_path, Plan([episode(0), episode(1)], [], []))
    assert report["fills"] == {
        "repeated_rows": 4,
        "unused_frames": 2,
        "repeated_pictures": {CAMERA: 6},
        "unused_pictures": {CAMERA: 2},
        "largest_offset_ms": 8.642,
    }


def test_it_lists_what_was_left_out_with_its_reason(tmp_path):
    report = made(tmp_path, Plan([episode(0)], [trim(), trim("idle", 0.25), trim("idle", 0.25)], []))
    assert report["trimmed_seconds"] == {"gap": 0.5, "idle": 0.5}
    assert report["sessions"][0]["trims"][0] == {
        "begin": "2023-12-23T08:00:01.000000+00:00",
        "end": "2023-12-23T08:00:01.500000+00:00",
        "seconds": 0.5,
        "reason": "gap",
    }


def test_it_names_the_sessions_without_an_episode(tmp_path):
    report = made(tmp_path, Plan([], [trim("too short"), trim("mark")], []))
    assert report["refusals"] == [{"session_id": 17, "robot": "arm", "reasons": ["mark", "too short"]}]


def test_it_names_the_session_of_each_warning(tmp_path):
    plan = Plan([episode(0)], [], ["2 of 92 frames are missing.", "session 17 (arm): reward left out"])
    report = made(tmp_path, plan, spans=[[span(30, "front is frozen for 2.0 s.")]])
    assert report["warnings"] == [
        "session 17: 2 of 92 frames are missing.",
        "session 17 (arm): reward left out",
        "session 17: front is frozen for 2.0 s.",
    ]


def test_it_counts_copied_and_encoded_pictures(tmp_path):
    report = made(tmp_path, Plan([episode(0), episode(1)], [], []), spans=[[span(30), span(12)]])
    assert report["films"] == {CAMERA: {"copied_pictures": 42, "encoded_pictures": 18}}


def test_it_lists_all_files_by_their_final_names(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json.new").write_bytes(b"{}")
    assert made(tmp_path, Plan([episode(0)], [], []))["files"] == [
        {
            "path": "meta/info.json",
            "bytes": 2,
            "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        }
    ]


def test_it_counts_a_session_as_an_episode_if_there_is_no_grid(tmp_path):
    report = made(tmp_path, Plan([], [], ["camera depth left out"]), spans=[], format="mcap")
    assert (report["episodes"], report["rows"], report["seconds"]) == (1, 90, 3.0)
    assert "camera depth left out" in report["warnings"][0]


def test_it_leaves_steps_of_the_clock_out_of_the_duration(tmp_path):
    stepped = replace(ENTRY, quality={"duration_s": 1.5})
    assert made(tmp_path, Plan([], [], []), entries=[stepped], spans=[], format="parquet")["seconds"] == 1.5


def test_it_lists_at_most_100_trims_of_a_session(tmp_path):
    session = made(tmp_path, Plan([], [trim()] * 150, []))["sessions"][0]
    assert (len(session["trims"]), session["trim_count"]) == (100, 150)


def test_it_writes_report_and_manifest_into_the_dataset(tmp_path):
    page(tmp_path, Plan([episode(0)], [], []))
    report, manifest = (
        json.loads((tmp_path / "export" / name).read_text()) for name in ("report.json", "manifest.json")
    )
    assert (report["name"], manifest["sessions"][0]["values_sha256"]) == ("towels", "ab12")


def test_it_writes_the_same_bytes_again(tmp_path):
    pages = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pages.append(page(tmp_path / name, Plan([episode(0)], [trim()], ["late"])))
    assert pages[0] == pages[1]


def test_its_page_needs_no_other_file(tmp_path):
    text = page(tmp_path, Plan([episode(0)], [trim()], []))
    assert not re.search(r"src=|<link|@import|url\(|https?:", text)


def test_its_page_shows_totals_and_reasons(tmp_path):
    text = page(tmp_path, Plan([episode(0)], [trim()], ["The clock steps."]))
    assert "720 values in 60 rows and 60 pictures, in 5 files" in text
    assert "<td>gap</td>" in text and "session 17: The clock steps." in text


def test_its_page_draws_episodes_and_trims_in_the_order_of_time(tmp_path):
    text = page(tmp_path, Plan([episode(0), episode(1)], [trim()], []))
    assert re.findall(r'<span class="(\w+)" style="flex-grow:([\d.]+)"', text) == [
        ("episode", "40.000"),
        ("trim", "20.000"),
        ("episode", "40.000"),
    ]


def test_its_page_escapes_texts_of_people(tmp_path):
    text = page(tmp_path, Plan([episode(0)], [], []), entries=[replace(ENTRY, task="<script>alert(1)</script>")])
    assert "&lt;script&gt;alert(1)" in text and "<script" not in text


def test_its_page_says_how_much_it_leaves_out(tmp_path, monkeypatch):
    monkeypatch.setattr(report_page, "MAX_ROWS", 2)
    assert "report.json has 3 more" in page(tmp_path, Plan([episode(0)], [], [f"warning {n}" for n in range(5)]))


@pytest.mark.parametrize(("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (10**10, "10.0 GB")])
def test_it_shows_sizes_in_usual_units(size, text):
    assert report_page._size(size) == text
