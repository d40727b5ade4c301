"""The background work that makes exports: refusals, deletion, a full disk, a killed process and its next attempt."""

import errno
import fcntl
import os
import sys
from types import SimpleNamespace

import pytest

from datasets import background
from datasets.background import EXPORT, MAX_REPORT_BYTES, shortened
from datasets.models import Export
from datasets.tests.export_rows import FILES, REPORT, builds, created, done, recorded, write
from datasets.types import Refused
from datasets.verification import VerificationFailed
from teleop.background.kinds import KINDS, Postponed, Unusable
from videos.models import VideoChunk

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]


BUILT = builds()


def nothing(progress: float) -> None:
    """Ignore the progress."""


@pytest.fixture
def make(monkeypatch):
    """Return a function that makes an export with a stand-in for build()."""

    def run(export: Export, build=BUILT, report=nothing) -> Export | None:
        monkeypatch.setitem(sys.modules, "datasets.build", SimpleNamespace(build=build))
        manifest = SimpleNamespace(from_json=lambda given: given)
        monkeypatch.setitem(sys.modules, "datasets.manifest", SimpleNamespace(Manifest=manifest))
        EXPORT.run(export, report)
        return Export.objects.filter(pk=export.pk).first()

    return run


@pytest.fixture
def session_with_film():
    session, times = recorded("film"), {"start_timestamp": 1, "end_timestamp": 61, "duration_s": 60, "rate": 30}
    size = {"width": 640, "height": 480, "size": 1}
    VideoChunk.objects.create(session=session, robot_id="arm", camera_key="front", file_path="x.mp4", **times, **size)
    return session


def raises(error: Exception):
    def does(partial):
        raise error

    return builds(does)


def test_exports_are_the_last_kind_of_work():
    assert list(KINDS)[-1] == "export"


def test_it_makes_the_oldest_pending_export_first():
    first, second = created("first"), created("second")
    done("done"), created("failed", state="failed")
    assert list(EXPORT.due()) == [first, second]


def test_it_stores_size_report_and_expiry(make, settings):
    settings.EXPORT_DAYS = 30
    export, progress = created(), []
    made = make(export, report=progress.append)
    assert (made.state, made.report, made.episodes, made.seconds) == ("done", REPORT, 2, 10.5)
    assert made.size_bytes == sum(map(len, FILES.values())) and progress == [0.5]
    assert (made.expires_at - made.finished_at).days == 30
    assert not EXPORT.due()


def test_it_never_expires_with_zero_days(make, settings):
    settings.EXPORT_DAYS = 0
    assert make(created()).expires_at is None


def test_it_stores_a_refusal_and_leaves_no_failed_job(make):
    made = make(created(), raises(Refused("session 1 was resumed since it was selected")), nothing)
    assert (made.state, made.error) == ("failed", "session 1 was resumed since it was selected")
    assert not EXPORT.due()


def test_an_export_that_differs_from_the_recording_fails_for_good(make):
    with pytest.raises(Unusable, match=r"differs from the recording: row 7 is 1\.0; 2\.0 expected"):
        make(created(), raises(VerificationFailed(["row 7 is 1.0; 2.0 expected"])))


def test_giving_up_stores_the_reason_but_not_over_a_dataset():
    pending, finished = created("a"), done("b")
    pending.partial_folder.mkdir()
    for export in (pending, finished):
        EXPORT.give_up(export, "its process was killed")
        export.refresh_from_db()
    assert (pending.state, pending.error, finished.state) == ("failed", "its process was killed", "done")
    assert not pending.partial_folder.exists() and finished.folder.exists()


def test_a_full_disk_postpones_it(make):
    with pytest.raises(Postponed, match="the disk is full: No space left"):
        make(created(), raises(OSError(errno.ENOSPC, "No space left on device")))
    assert EXPORT.due()


def test_it_waits_until_the_disk_has_room_for_the_estimate(make, settings):
    export = created(estimate={"bytes": 2**60})
    write(export.partial_folder)  # of an attempt that was killed
    with pytest.raises(Postponed, match="up to 1152921504606846976 are needed"):
        make(export)
    assert not export.partial_folder.exists()


def test_another_error_is_an_attempt(make):
    with pytest.raises(OSError, match="broken"):
        make(created(), raises(OSError(errno.EIO, "broken")))
    assert EXPORT.due()


@pytest.mark.django_db(transaction=True)
def test_deleting_it_stops_the_work_and_leaves_nothing(make, media):
    export = created()
    assert make(export, builds(lambda partial: Export.objects.get().delete())) is None
    assert list((media / "exports").iterdir()) == []


def test_it_removes_the_dataset_of_an_export_that_was_deleted_at_the_end(make):
    export = created()

    def build(manifest, target, report):
        write(target)
        Export.objects.all()._raw_delete("default")
        return REPORT

    assert make(export, build) is None and not export.folder.exists()


def test_it_notices_the_deletion_when_it_reports_progress(make, monkeypatch):
    monkeypatch.setattr(background, "CHECK_S", 0)
    export, progress = created(), []

    def build(manifest, target, report):
        report(0.1)
        Export.objects.all()._raw_delete("default")
        report(0.2)

    assert make(export, build, progress.append) is None
    assert progress == [0.1]


def test_an_attempt_after_the_folder_was_made_only_stores_it(make):
    export = created()
    write(export.folder)
    assert make(export, None).state == "done"


def test_it_reads_the_reports_of_a_split_export(make):
    export = created(options={"split_by": "robot"})
    for robot in ("arm", "leg"):
        write(export.folder / robot)
    made = make(export, None)
    assert (made.report, made.episodes) == ({"datasets": {"arm": REPORT, "leg": REPORT}}, 4)


def test_it_waits_for_another_process_that_makes_it(make):
    export = created()
    export.partial_folder.mkdir(parents=True)
    other = os.open(export.partial_folder, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)

    def refuses(manifest, target, report):
        raise Refused("another process is making it")

    with pytest.raises(Postponed, match="another process makes export"):
        make(export, refuses)
    assert export.partial_folder.exists()
    os.close(other)
    assert make(export, refuses).state == "failed"


def test_a_restarted_export_can_be_done(make):
    made = make(created(state="failed", error="its process was killed", finished_at="2026-11-27T15:00Z"))
    assert (made.state, made.error) == ("done", "")


def test_it_waits_while_media_root_is_not_mounted(make, media, session_with_film):
    assert "has no folder videos; is its disk mounted?" in EXPORT.blocked()
    with pytest.raises(Postponed, match="is its disk mounted"):
        make(created(), raises(Refused("a film is missing")))
    (media / "videos").mkdir()
    assert EXPORT.blocked() is None


def test_its_limits_grow_with_the_selection(session_with_film):
    small = created("small")
    sessions = [{"session_id": session_with_film.pk, "frame_count": 10**6}] * 2
    large = created("large", manifest={"sessions": sessions})
    assert EXPORT.cpu_s(small) == pytest.approx(background.CPU_S, abs=1)
    pictures = 60 * 30
    assert EXPORT.cpu_s(large) == pytest.approx(120 + 2000 + pictures * (0.05 + 640 * 480 * 500e-9), rel=0.01)
    assert EXPORT.memory_of(large) - EXPORT.memory_of(small) > 2 * 10**9


def test_a_long_report_loses_its_longest_parts():
    report = REPORT | {"files": ["x" * 100] * 20_000, "trims": ["y"] * 10}
    kept = shortened(report)
    assert kept["left_out"] == ["files"] and kept["trims"] and "files" not in kept
    assert MAX_REPORT_BYTES > 10**6 and shortened(REPORT) == REPORT
