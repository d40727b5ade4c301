"""Changes of marks that people have made: another note, another time."""

import pytest

from robots.models import AuditEntry
from teleop.models import TeleopSession
from teleop.tests.recordings import T0_S, make_session

pytestmark = pytest.mark.django_db
SLIPS = {"timestamp": T0_S + 1, "note": "slips", "by": "ada"}
START = {"timestamp": T0_S, "note": "", "by": "ada", "kind": "trim_start"}
END = {"timestamp": T0_S + 5, "note": "", "by": "ada", "kind": "trim_end"}


@pytest.fixture
def session() -> TeleopSession:
    session = make_session([0, 600])
    session.set_marks([SLIPS, START, END])
    session.save_meta()
    return session


def change(client, session, seconds: float, **changes):
    answer = client.patch(f"/sessions/{session.pk}/marks/{T0_S + seconds}", changes)
    session.refresh_from_db()
    return answer


def test_it_renames_a_mark_and_keeps_its_author(curator, session):
    answer = change(curator, session, 1, note="lets go", seen_note="slips")
    assert answer.status_code == 200 and answer.json()[1] == SLIPS | {"note": "lets go", "kind": None}
    assert session.marks == [START, SLIPS | {"note": "lets go"}, END]
    assert AuditEntry.objects.get().changes == {"meta_info.marks": [[SLIPS], [SLIPS | {"note": "lets go"}]]}


def test_it_moves_a_mark(curator, session):
    change(curator, session, 0, timestamp=T0_S + 3.5)
    assert session.marks == [SLIPS, START | {"timestamp": T0_S + 3.5}, END]


def test_it_changes_only_the_mark_that_was_seen(curator, session):
    session.set_marks([SLIPS, SLIPS | {"note": "falls", "by": "bob"}])
    session.save_meta()
    change(curator, session, 1, note="drops", seen_note="falls")
    assert [mark["note"] for mark in session.marks] == ["slips", "drops"]


@pytest.mark.parametrize(
    "seconds, changes, status, says",
    [
        (2, {"note": "x"}, 404, f"has no mark of a person at {T0_S + 2}"),
        (1, {"note": "x", "seen_note": "falls"}, 409, "has the note 'slips' now; read it again"),
        (0, {"timestamp": T0_S + 6}, 400, "trim_start"),
        (1, {"note": "x" * 501}, 400, "501 characters; at most 500 expected"),
        (1, {"by": "eve"}, 400, "unknown field by; timestamp, note, seen_note expected"),
    ],
)
def test_it_refuses_a_change_that_does_not_fit(curator, session, seconds, changes, status, says):
    answer = change(curator, session, seconds, **changes)
    assert answer.status_code == status and says in answer.content.decode()
    assert session.marks == [START, SLIPS, END]
