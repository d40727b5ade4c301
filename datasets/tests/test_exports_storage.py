"""Exports in clean_media, prune, doctor, the storage figures and the metrics."""

import io
import os
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from datasets.models import Export
from datasets.tests.export_rows import created, done, recorded
from robots.models import AuditEntry
from robots.tests.admin_clients import shown
from teleop.background.models import Job
from teleop.models import TeleopSession
from teleop.monitoring import checks, storage

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]


def run(command: str, *options: str) -> list[str]:
    printed = io.StringIO()
    call_command(command, *options, stdout=printed)
    return printed.getvalue().splitlines()


def aged(folder) -> str:
    """Make an old folder, with a folder in it and no file."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    os.utime(folder, (0, 0))
    return f"exports/{folder.name}"


@pytest.fixture
def folders(media):
    """Make an export that is done, one in work, one whose work was killed, and the folders of deleted ones."""
    kept, working, killed = done("kept"), created("working"), created("killed")
    Job.objects.create(kind="export", object_id=working.pk, attempts=1, holder="host:1")
    Job.objects.create(kind="export", object_id=killed.pk, attempts=1)
    aged(kept.folder), aged(working.partial_folder)
    remains = [aged(killed.partial_folder), aged(media / "exports/999"), aged(media / "exports/by-hand")]
    (media / "exports/998.partial").mkdir()  # new
    return sorted(remains)


def test_clean_media_lists_folders_without_a_row_or_a_running_job(folders):
    assert run("clean_media") == [
        *(f"no row for {folder}" for folder in folders), "3 files and folders to delete (use --delete), 0 are missing",
    ]  # fmt: skip


def test_clean_media_deletes_these_folders_alone(folders, media):
    before = {path.name for path in (media / "exports").iterdir()}
    assert run("clean_media", "--delete")[-1] == "3 files and folders deleted, 0 are missing"
    assert {f"exports/{name}" for name in before - {path.name for path in (media / "exports").iterdir()}} == {*folders}


def test_clean_media_lists_an_export_without_folder_and_keeps_it():
    export = done()
    export.delete_folders()
    assert run("clean_media", "--delete")[0] == f"no dataset for export {export.pk} (towels)"
    assert Export.objects.exists()


@pytest.fixture
def expired():
    export = done("old", expires_at=Now() - timedelta(days=3))
    done("fresh", expires_at=Now() + timedelta(days=1)), done("kept"), created("waiting")
    return export


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("option", [("--expired-exports",), ("--older-than", "50w")])
def test_prune_deletes_expired_exports_with_their_folders(expired, option):
    assert run("prune", *option)[0 if len(option) == 1 else 1] == f"deleted export {expired.pk} (old)"
    assert not expired.folder.exists() and Export.objects.count() == 3
    assert AuditEntry.objects.get().actor == "prune"


def test_prune_keeps_sessions_if_only_exports_are_to_be_deleted(expired):
    recorded("1")
    run("prune", "--expired-exports")
    assert TeleopSession.objects.exists()


def test_a_dry_run_of_prune_deletes_none(expired):
    assert run("prune", "--expired-exports", "--dry-run") == ["1 exports would be deleted"]
    assert Export.objects.count() == 4


def test_prune_needs_one_of_both_options():
    with pytest.raises(CommandError, match="--older-than --expired-exports is required"):
        run("prune")


def test_doctor_warns_of_expired_and_of_failed_exports():
    assert checks.exports().verdict == "ok"
    created("refused", state="failed")
    assert checks.exports().what == "1 exports have failed"
    done(expires_at=Now() - timedelta(days=1))
    assert checks.exports().id == "teleop.W023"
    done("old", expires_at=Now() - timedelta(days=3))
    assert checks.exports().what == "1 exports expired more than two days ago"


@pytest.fixture
def _measured_anew():
    cache.clear()
    yield
    cache.clear()


@pytest.mark.usefixtures("_measured_anew")
def test_the_storage_figures_and_the_metrics_have_exports(client, staff_viewer):
    done("a", size_bytes=5 * 2**30), done("b", size_bytes=2**30), created("c")
    now = storage.measure()
    assert (now.exports, now.export_bytes, now.rows[-1]["name"]) == (2, 6 * 2**30, "exports")
    page = client.get("/metrics").content.decode()
    assert "teleop_export_bytes 6.44" in page and 'teleop_jobs{kind="export",state="due"} 1.0' in page
    assert "6.0\xa0GB" in shown(staff_viewer.get("/admin/"))
