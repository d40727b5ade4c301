"""POST, GET and DELETE /exports."""

from unittest.mock import Mock

import pytest

from datasets.models import Export
from datasets.tests.export_rows import created, done, recorded, write
from robots.models import AuditEntry
from teleop.background.models import Job
from teleop.models import TeleopSession
from videos.models import VideoChunk

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]


@pytest.fixture
def session() -> TeleopSession:
    return recorded("1", task="Fold", success=True)


def post(client, status=202, **body) -> dict:
    answer = client.post("/exports", body)
    assert answer.status_code == status, answer.content
    return answer.json()


def test_it_creates_an_export_with_all_options_and_an_audit_entry(curator, session):
    made = post(curator, name="towels", where="task=Fold&success=true", fps=30)
    assert (made["state"], made["sessions"], made["created_by"]) == ("pending", 1, "curator")
    assert (made["options"]["fps"], made["options"]["max_gap_s"], made["where"]) == (30, 0.25, "task=Fold&success=true")
    assert made == curator.get(f"/exports/{made['id']}").json()
    entry = AuditEntry.objects.get()
    assert (entry.model, entry.action, entry.actor, entry.changes["name"]) == (
        "datasets.export", "added", "curator", [None, "towels"],
    )  # fmt: skip


def test_it_freezes_the_labels_when_it_is_created(curator, session):
    post(curator, name="towels", sessions=[session.pk])
    curator.patch(f"/sessions/{session.pk}", {"meta_info": {"task": "Other"}})
    (entry,) = Export.objects.get().manifest["sessions"]
    assert (entry["session_id"], entry["task"]) == (session.pk, "Fold")


def test_a_new_export_never_takes_the_folder_of_an_earlier_one(curator, session):
    stale = Export(pk=done("earlier").pk + 1)  # as if a backup was restored that does not have it
    write(stale.folder)
    made = post(curator, name="towels", where="")
    assert made["id"] == stale.pk and not stale.folder.exists()


def test_it_accepts_filters_as_an_object(curator, session):
    made = post(curator, name="towels", where={"task": "Fold", "success": True})
    assert made["where"] == "task=Fold&success=true"


def test_a_dry_run_estimates_and_stores_nothing(curator, session):
    found = post(curator, 200, where="", dry_run=True)
    assert (found["sessions"], found["frames"], found["shortage"]) == (1, 600, None)
    assert found["bytes"] > 0 and found["hours"] == pytest.approx(600 / 60 / 3600)
    assert not Export.objects.exists()


@pytest.mark.parametrize(
    "body, field, says",
    [
        ({}, "where", "either where or sessions is required"),
        ({"where": "", "sessions": [1]}, "where", "and not both"),
        ({"where": "colour=red"}, "where", "'colour' is no filter of sessions"),
        ({"where": "success=perhaps"}, "where", "success"),
        ({"where": "task=Juggle"}, "where", "no session matches"),
        ({"where": 5}, "where", "where is 5"),
        ({"where": "x" * 20_000}, "where", "at most 10000"),
        ({"sessions": []}, "sessions", "the list of sessions is empty"),
        ({"sessions": [99]}, "sessions", "there is no session 99"),
        ({"sessions": "17"}, "sessions", "sessions is '17'; a list of ids expected"),
        ({"sessions": list(range(1, 100_001))}, "sessions", "100000 sessions are selected; at most 10000"),
        ({"where": "", "format": "hdf5"}, "format", "format is 'hdf5'; one of lerobot-v3.0"),
        ({"where": "", "fps": 0}, "fps", "fps is 0"),
        ({"where": "", "max_gap_s": "0.2"}, "max_gap_s", "max_gap_s is '0.2'; a number from"),
        ({"where": "", "trim": "marks"}, "trim", "a list of texts expected"),
        ({"where": "", "refuse": ["rain"]}, "refuse", "refuse is 'rain'"),
        ({"where": "", "modality": True}, "modality", "or format lerobot-v2.1"),
        ({"where": "", "cameras": ["front"]}, "cameras", "no session has a film of camera front; cameras of these"),
        ({"where": "", "cameras": ["front"], "dry_run": True}, "cameras", "no session has a film of camera front"),
        ({"where": "", "fps": 61}, "fps", "fps is 61; at most 60 expected, the fps of session"),
        ({"where": "", "fps": 61, "dry_run": True}, "fps", "fps is 61; at most 60 expected"),
        ({"where": "", "colour": "red"}, "colour", "unknown field colour"),
        ({"where": "", "name": "no/slash"}, "name", "name must match"),
        ({"where": "", "name": ""}, "name", "blank"),
        ({"where": "", "name": 5}, "name", "string"),
        ({"where": "", "dry_run": 1}, "dry_run", "dry_run is 1; true or false expected"),
    ],
)
def test_it_answers_400_and_names_the_field(curator, session, body, field, says):
    answer = post(curator, 400, **{"name": "towels"} | body)
    assert says in answer[field][0], answer
    assert not Export.objects.exists()


def test_it_requires_a_name(curator, session):
    assert post(curator, 400, where="")["name"] == ["name is required"]


def test_it_refuses_a_name_twice(curator, session):
    post(curator, name="towels", where="")
    for body in ({}, {"dry_run": True}):
        assert (
            "there is an export with the name towels" in post(curator, 409, name="towels", where="", **body)["detail"]
        )


@pytest.mark.parametrize("is_dry", [True, False])
def test_it_refuses_sessions_of_other_rates_at_once(curator, session, is_dry):
    TeleopSession.objects.filter(pk=recorded("2").pk).update(fps=30)
    answer = post(curator, 400, name="towels", where="", dry_run=is_dry)
    assert answer["fps"][0].startswith("fps is 30 in session ") and not Export.objects.exists()
    post(curator, name="towels", where="", fps=30)


@pytest.mark.django_db(transaction=True)
def test_it_replaces_a_failed_export_of_the_name(curator, session):
    failed = created("towels", state="failed", error="fps is 30 in session 1")
    failed.partial_folder.mkdir(parents=True)
    Job.objects.create(kind="export", object_id=failed.pk, attempts=1)
    post(curator, 200, name="towels", where="", dry_run=True)
    assert Export.objects.get() == failed
    made = post(curator, name="towels", where="")
    assert Export.objects.get().pk == made["id"] != failed.pk
    assert not Job.objects.exists() and not failed.partial_folder.exists()
    entries = AuditEntry.objects.order_by("pk").values_list("action", "object_id")
    assert list(entries) == [("deleted", str(failed.pk)), ("added", str(made["id"]))]


@pytest.mark.django_db(transaction=True)
def test_it_keeps_a_failed_export_if_the_new_one_is_not_stored(curator, session, monkeypatch):
    failed = created("towels", state="failed")
    monkeypatch.setattr("datasets.api.creation.audit.record", Mock(side_effect=[None, RuntimeError]))
    assert curator.post("/exports", {"name": "towels", "where": ""}).status_code == 500
    assert Export.objects.get() == failed


def test_of_two_requests_at_once_one_gets_the_name(curator, session, monkeypatch):
    """The check of the name passes for both; the database refuses the second one."""
    created("towels")
    monkeypatch.setattr("datasets.api.creation._check_name", lambda values: None)
    assert "towels" in post(curator, 409, name="towels", where="")["detail"]


def test_it_answers_507_if_the_disk_has_too_little_space(curator, session, settings):
    settings.DISK_RESERVE_BYTES = 2**60
    assert "reserved for frames" in post(curator, 507, name="towels", where="")["detail"]
    assert "reserved for frames" in post(curator, 200, where="", dry_run=True)["shortage"]


def test_it_lists_exports_newest_first_without_reading_manifests(viewer, django_assert_num_queries):
    created("first"), done("second"), created("third", state="failed", error="session 1 is live")
    viewer.get("/exports")  # the first request of a token stores its use
    with django_assert_num_queries(5) as queries:
        found = viewer.get("/exports").json()["results"]
    assert [(each["name"], each["state"], each["error"]) for each in found] == [
        ("third", "failed", "session 1 is live"), ("second", "done", ""), ("first", "pending", ""),
    ]  # fmt: skip
    assert not any('"manifest"' in query["sql"] for query in queries.captured_queries)


def test_it_shows_progress_while_a_process_makes_it(viewer):
    export = created()
    Job.objects.create(kind="export", object_id=export.pk, attempts=1, holder="host:1", progress=0.25)
    Job.objects.create(kind="poster", object_id=export.pk, attempts=1, holder="host:1", progress=0.75)
    shown = viewer.get(f"/exports/{export.pk}").json()
    assert (shown["state"], shown["progress"], shown["content"]) == ("running", 0.25, None)
    assert [viewer.get(f"/exports?state={state}").json()["count"] for state in ("pending", "running")] == [0, 1]


def test_it_shows_why_the_last_attempt_did_not_make_it(viewer):
    export = created()
    Job.objects.create(kind="export", object_id=export.pk, attempts=1, error="the disk is full")
    shown = viewer.get(f"/exports/{export.pk}").json()
    assert (shown["state"], shown["error"]) == ("pending", "the disk is full")


def test_it_filters_by_state_format_user_and_text(viewer):
    created("towels", created_by="ada", where="task=Fold"), done("cubes", format="mcap", created_by="bob")
    for query, name in [
        ("state=done", "cubes"), ("format=mcap", "cubes"), ("created_by=ada", "towels"), ("text=fold", "towels"),
    ]:  # fmt: skip
        assert [each["name"] for each in viewer.get(f"/exports?{query}").json()["results"]] == [name]
    assert viewer.get("/exports?state=lost").status_code == 400


def test_it_returns_the_report_and_404_before(viewer):
    export, pending = done(), created("later")
    assert viewer.get(f"/exports/{export.pk}/report").json()["episodes"] == 2
    answer = viewer.get(f"/exports/{pending.pk}/report")
    assert (answer.status_code, answer.json()["detail"]) == (404, f"export {pending.pk} has no dataset; it is pending")


def test_it_returns_the_report_as_a_page_that_runs_no_script(viewer):
    export = done()
    answer = viewer.get(f"/exports/{export.pk}/report.html")
    assert answer.content == b"<h1>towels</h1>" and answer["Content-Type"].startswith("text/html")
    (export.folder / "export" / "report.html").unlink()
    assert viewer.get(f"/exports/{export.pk}/report.html").status_code == 410
    assert {"default-src 'none'", "style-src 'unsafe-inline'"} < set(answer["Content-Security-Policy"].split("; "))


@pytest.mark.django_db(transaction=True)
def test_delete_removes_the_folder_and_leaves_an_audit_entry(curator):
    export = done()
    export.partial_folder.mkdir()
    job = Job.objects.claim("export", export.pk, "host:1")
    assert curator.delete(f"/exports/{export.pk}").status_code == 204
    assert not export.folder.exists() and not export.partial_folder.exists()
    assert not job.renew(0.5)  # so its process is ended
    assert curator.delete(f"/exports/{export.pk}").status_code == 404
    assert AuditEntry.objects.get().changes["name"] == ["towels", None]


def test_the_dataset_is_not_affected_by_deleting_its_session(curator, session):
    made = post(curator, name="towels", where="")
    TeleopSession.objects.get().delete()
    assert not VideoChunk.objects.exists() and Export.objects.get(pk=made["id"]).session_count == 1
