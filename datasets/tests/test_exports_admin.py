"""Exports in the admin: viewers read them, curators delete them, nobody adds or changes them there."""

import pytest

from datasets.models import Export
from datasets.tests.export_rows import created, done
from robots.models import AuditEntry
from robots.tests.admin_clients import shown
from teleop.background.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.once, pytest.mark.usefixtures("media")]
LIST = "/admin/datasets/export/"


def test_the_list_shows_state_and_progress_and_filters(staff_viewer):
    running, _ = created("towels"), done("cubes")
    Job.objects.create(kind="export", object_id=running.pk, attempts=1, holder="host:1", progress=0.25)
    page = shown(staff_viewer.get(LIST))
    assert "running" in page and "25%" in page and "cubes" in page
    assert "cubes" not in shown(staff_viewer.get(f"{LIST}?state=running"))


def test_the_page_links_dataset_and_report(staff_viewer):
    export = done()
    page = shown(staff_viewer.get(f"{LIST}{export.pk}/change/"))
    assert f"/exports/{export.pk}/content" in page and f"/exports/{export.pk}/report.html" in page


def test_the_page_shows_the_error(staff_viewer):
    export = created(state="failed", error="session 1 <was> resumed")
    assert "session 1 &lt;was&gt; resumed" in shown(staff_viewer.get(f"{LIST}{export.pk}/change/"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_list", [False, True])
def test_a_curator_deletes_exports_with_their_folders(staff_curator, is_list):
    export = done()
    if is_list:
        body = {"action": "delete_selected", "_selected_action": [export.pk], "post": "yes"}
        staff_curator.post(LIST, body)
    else:
        staff_curator.post(f"{LIST}{export.pk}/delete/", {"post": "yes"})
    assert not Export.objects.exists() and not export.folder.exists()
    assert AuditEntry.objects.get().action == "deleted"


def test_nobody_adds_or_changes_exports_there(staff_admin):
    assert staff_admin.get(f"{LIST}add/").status_code == 403
    assert staff_admin.post(f"{LIST}{done().pk}/change/", {"name": "other"}).status_code == 403
