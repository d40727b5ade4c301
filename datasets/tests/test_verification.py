"""Exports that are right are accepted; datasets/tests/test_verification_*.py plant the faults."""

import ast
from collections.abc import Iterator

import pytest

from datasets.tests.verified_exports import PICTURES, SESSIONS
from tests.services import ROOT

pytestmark = pytest.mark.once
MAKERS = ("grid", "films", "formats", "statistics", "recording", "manifest", "selection", "build", "writing", "report")


@pytest.mark.parametrize("kind", SESSIONS)
def test_it_accepts_a_right_export(export, kind):
    verified = export(kind).verify()
    cameras = sum(len(films) for films in SESSIONS[kind])
    assert (verified.pictures, verified.rows > 0) == (cameras * PICTURES, True)


@pytest.mark.parametrize("kind", ["values", "two cameras"])
def test_it_accepts_a_right_export_of_version_2_1(export, kind):
    assert export(kind, format="lerobot-v2.1").verify().rows


def test_it_accepts_pictures_encoded_as_av1(export):
    assert export("noise", video_codec="av1").verify().pictures == PICTURES


def test_it_accepts_half_the_rate_and_interpolated_joints(export):
    verified = export("encoded", fps=15, interpolate=("*",)).verify()
    assert verified.pictures == PICTURES // 2


def test_it_checks_capture_times(export):
    made = export("values", capture_times=True)
    assert made.verify().values == 80 * (2 + 2 + 2 + 1 + 5)
    with made.table("data/chunk-000/file-000.parquet") as columns:
        columns["observation.capture_time"][3] += 0.25
    assert "row 3: observation.capture_time is 1767600000.35; 1767600000.1 expected" in made.findings()[0]


def test_it_counts_what_it_has_compared(export):
    verified = export("values").verify()
    assert verified.rows == 80
    assert verified.values == 80 * (2 + 2 + 2 + 5)  # state, action, a bool and a text, and the indexes
    assert verified.files == 5


def test_it_reports_progress(export):
    from datasets.verification import verify

    made, progress = export("values"), []
    verify(made.folder, made.manifest, progress.append)
    assert progress == [0.5, 1.0]


def _imported_names() -> Iterator[str]:
    for file in (ROOT / "datasets/verification").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield f"{'.' * node.level}{node.module}"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.once
def test_it_shares_no_code_with_what_makes_an_export():
    forbidden = tuple(f"datasets.{name}" for name in MAKERS)
    assert [name for name in _imported_names() if name.startswith((*forbidden, "."))] == []
