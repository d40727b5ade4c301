"""While people label a live session, its robot's frames are stored without waiting for them."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from teleop.models import TeleopSession
from teleop.tests.recordings import T0_S, make_session
from teleop.tests.test_admin_sessions import SEEN, act, page_of

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

INSERT = (
    "INSERT INTO teleop_teleopframe (session_id, frame_index, timestamp, robot_id, data) VALUES (%s, %s, %s, %s, '{}')"
)


@pytest.fixture
def session() -> TeleopSession:
    session = make_session(range(3), is_live=True)
    session.set_marks([{"timestamp": T0_S, "note": "", "by": "ada"}])
    session.save_meta()
    return session


@pytest.fixture
def worker() -> Iterator[BaseDatabaseWrapper]:
    """Yield a connection like that of the ingest, which waits at most half a second for a lock."""
    own = connection.copy()
    own.settings_dict["OPTIONS"] = {"options": "-c lock_timeout=500ms"}
    with closing(own):
        yield own


def store_frame(worker: BaseDatabaseWrapper, session: TeleopSession) -> None:
    with worker.cursor() as cursor:
        cursor.execute(INSERT, [session.pk, 3, timezone.now(), session.robot_id])


@pytest.mark.parametrize(
    "label",
    [
        lambda client, session: client.patch(f"/sessions/{session.pk}", {"meta_info": {"success": True}}),
        lambda client, session: client.post(f"/sessions/{session.pk}/marks", {"timestamp": T0_S + 1}),
        lambda client, session: client.delete(f"/sessions/{session.pk}/marks/{T0_S}"),
    ],
    ids=["label", "mark", "unmark"],
)
def test_it_stores_a_frame_while_rest_changes_its_session(curator, worker, session, label):
    with transaction.atomic():
        assert label(curator, session).status_code in (200, 201)
        store_frame(worker, session)
    assert session.frames.next_index() == 4


@pytest.mark.parametrize(
    "label",
    [
        lambda client, session: client.post(page_of(session), SEEN | {"note": "It slips"}),
        lambda client, session: act(client, "mark_success", session),
        lambda client, session: act(client, "set_task", session, apply="1", task="Fold"),
    ],
    ids=["form", "mark_success", "set_task"],
)
def test_it_stores_a_frame_while_the_admin_labels_its_session(staff_curator, worker, session, label):
    before = session.updated_at
    with transaction.atomic():
        label(staff_curator, session)
        store_frame(worker, session)
    session.refresh_from_db()
    assert session.updated_at > before
    assert session.frames.next_index() == 4


def test_it_serializes_concurrent_label_changes(curator, worker, session):
    with transaction.atomic():
        curator.patch(f"/sessions/{session.pk}", {"meta_info": {"success": True}})
        with worker.cursor() as cursor, pytest.raises(OperationalError, match="lock timeout"):
            cursor.execute("SELECT 1 FROM teleop_teleopsession WHERE id = %s FOR NO KEY UPDATE", [session.pk])


def test_it_stores_no_frame_of_a_session_that_is_being_deleted(curator, worker, session):
    TeleopSession.objects.filter(pk=session.pk).update(end_time=timezone.now())
    with transaction.atomic():
        with CaptureQueriesContext(connection) as queries:
            assert curator.delete(f"/sessions/{session.pk}").status_code == 204
        assert any(query["sql"].endswith("FOR UPDATE") for query in queries)
        with pytest.raises(DatabaseError, match="lock timeout"):
            store_frame(worker, session)
    with pytest.raises(DatabaseError, match="foreign key"):
        store_frame(worker, session)
