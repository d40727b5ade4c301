"""An export from POST to its download, by a real worker and the real program."""

import io
import json
import os
import signal
import tarfile
from importlib import import_module

import pytest

from datasets.models import Export
from teleop.background.kinds import KINDS
from teleop.background.worker import Worker
from teleop.models import Job, TeleopSession
from teleop.tests.recordings import make_session

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("media", "only_exports"),
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]


@pytest.fixture
def only_exports():
    import_module("datasets.build")  # once, and not in each forked process
    registered = KINDS.copy()
    KINDS.clear()
    KINDS["export"] = registered["export"]
    yield
    KINDS.clear()
    KINDS.update(registered)  # in their order


@pytest.fixture
def session() -> TeleopSession:
    made = make_session(range(120))
    TeleopSession.objects.update(frame_count=120, meta_info={"task": "Fold"})
    made.refresh_from_db()
    return made


def create(curator, **body) -> Export:
    answer = curator.post("/exports", {"name": "towels", "where": "task=Fold"} | body)
    assert answer.status_code == 202, answer.json()
    return Export.objects.get(pk=answer.json()["id"])


def work(export: Export) -> Export:
    assert Worker().do_next()
    export.refresh_from_db()
    return export


def test_it_makes_a_verified_dataset_that_can_be_downloaded(curator, session):
    export = work(create(curator))
    assert (export.state, export.error, export.episodes) == ("done", "", 1)
    assert not Job.objects.exists() and not export.partial_folder.exists()
    with tarfile.open(fileobj=io.BytesIO(b"".join(curator.get(f"/exports/{export.pk}/content")))) as tar:
        info = json.load(tar.extractfile("towels/meta/info.json"))
    assert (info["total_frames"], info["total_episodes"]) == (120, 1)
    assert export.size_bytes == sum(file.stat().st_size for file in export.folder.rglob("*") if file.is_file())
    assert curator.get(f"/exports/{export.pk}/report").json()["verified"]["rows"] == 120


def test_a_session_that_was_resumed_meanwhile_is_refused_by_name(curator, session):
    export = create(curator)
    TeleopSession.objects.update(frame_count=121)
    refused = work(export)
    assert refused.state == "failed" and f"session {session.pk}" in refused.error and "resumed" in refused.error
    assert not Job.objects.exists() and not refused.folder.exists() and not refused.partial_folder.exists()


def test_a_killed_process_leaves_nothing_visible_and_the_next_attempt_makes_it(curator, session, monkeypatch):
    export = create(curator)
    with monkeypatch.context() as patched:
        patched.setattr("datasets.build.verify", lambda *given: os.kill(os.getpid(), signal.SIGKILL))
        work(export)
    assert (export.state, Job.objects.get().error) == ("pending", "its process was killed by SIGKILL")
    assert not export.folder.exists() and export.partial_folder.exists()
    Job.objects.update(free_at="2026-01-01T00:00Z")
    assert work(export).state == "done"
    assert not export.partial_folder.exists()
