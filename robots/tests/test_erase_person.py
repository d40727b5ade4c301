"""Erase a person: manage.py erase_person."""

import re
from io import StringIO

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from rest_framework.authtoken.models import Token

from datasets.models import Export
from robots import audit
from robots.management.commands import erase_person
from robots.models import AuditEntry, Robot
from robots.tests.admin_clients import client_of
from robots.tests.api_clients import person
from teleop.models import TeleopSession
from teleop.tests.recordings import T0_S, make_session

pytestmark = pytest.mark.django_db
MARK = {"timestamp": float(T0_S), "note": "the gripper slips"}


def erase(*arguments: str) -> str:
    out = StringIO()
    call_command("erase_person", *arguments, "--yes", stdout=out)
    return out.getvalue()


def everything() -> str:
    """Return all stored data about people, as text."""
    models = (User, Token, LogEntry, AuditEntry, TeleopSession, Robot)
    return "\n".join(str(list(model.objects.values())) for model in models)


@pytest.fixture
def session():
    """Make a session that ada and bob have labelled and marked; a robot's operator is Ada, too."""
    session = make_session()
    for name in ("ada", "bob"):
        client = person(name, "curator", email=f"{name}@example.org")
        client.patch(f"/sessions/{session.pk}", {"meta_info": {"task": f"Fold {name[0]}", "operator": "Ada L."}})
        client.post(f"/sessions/{session.pk}/marks", MARK)
    client_of(User.objects.get(username="ada"))
    client_of(User.objects.get(username="bob"))
    session.refresh_from_db()
    return session


def test_it_erases_the_account_and_the_name_only(session):
    ada = User.objects.get(username="ada")
    audit.record(audit.person(ada), audit.Action.CHANGED, [ada], {"email": ["", "ada@example.org"]})
    kind = ContentType.objects.get_for_model(User)
    for user in (ada, User.objects.get(username="bob")):
        LogEntry.objects.create(
            user=user, content_type=kind, object_id=ada.pk, object_repr="ada", action_flag=CHANGE, change_message=""
        )
    printed = erase("ada", "--operator", "Ada L.")
    for line in (
        "3 audit entries",
        "1 accounts",
        "1 tokens",
        "1 logins",
        "2 entries of the admin's earlier log",
        "1 sessions with the name in meta_info",
    ):
        assert printed.count(f"  {line}\n") == 2, printed  # the announcement and the result
    session.refresh_from_db()
    assert session.marks == [MARK | {"by": name} for name in ("removed user", "bob")]
    assert session.labels["task"] == "Fold b" and session.meta_info["operator"] == "removed user"
    assert not re.search(r"\bada\b", everything().lower())  # as a word: a random token may contain these letters
    assert [each.get_decoded()["_auth_user_id"] for each in Session.objects.all()] == [
        str(User.objects.get(username="bob").pk)
    ]
    actors = list(AuditEntry.objects.order_by("pk").values_list("actor", flat=True))
    assert actors == ["removed user"] * 2 + ["bob"] * 2 + ["removed user", "erase_person"]
    assert AuditEntry.objects.order_by("pk")[1].changes["meta_info.marks"] == [[], [MARK | {"by": "removed user"}]]


def test_it_erases_the_creator_of_exports_and_names_those_with_the_operator(session):
    manifest = {"sessions": [{"operator": "Ada L."}]}
    export = Export.objects.create(name="towels", created_by="ada", manifest=manifest)
    Export.objects.create(name="cubes", created_by="bob", where="operator=Bob")
    printed = erase("ada", "--operator", "Ada L.")
    assert sorted(Export.objects.values_list("created_by", flat=True)) == ["bob", "removed user"]
    assert "1 exports that the person created" in printed
    assert f"Free text still contains this name in exports {export.pk}." in printed


def test_it_erases_an_operator_without_an_account(session):
    Robot.objects.update(meta_info={"operator": "Ada L.", "arms": 2})
    erase("--operator", "Ada L.")
    assert "Ada L." not in everything() and User.objects.count() == 2
    assert Robot.objects.get().meta_info == {"operator": "removed user", "arms": 2}


@pytest.mark.parametrize("name", ['Zoë "Z" O\'Neil', "back\\slash", "100%_"])
def test_it_finds_names_with_any_characters(session, name):
    session.set_marks([MARK | {"by": name}, MARK | {"by": "other"}])
    session.save_meta()
    erase(name)
    session.refresh_from_db()
    assert [mark["by"] for mark in session.marks] == ["removed user", "other"]


def test_it_erases_the_name_of_a_deleted_account(session):
    User.objects.get(username="ada").delete()
    erase("ada")
    assert "'ada" not in everything()


def test_it_erases_earlier_names_of_the_account_too(session):
    User.objects.filter(username="ada").update(username="lovelace")
    erase("lovelace")
    session.refresh_from_db()
    assert [mark["by"] for mark in session.marks] == ["removed user", "bob"]


def test_it_keeps_an_earlier_name_now_used_by_another_account(session):
    User.objects.filter(username="ada").update(username="lovelace")
    person("ada")
    erase("lovelace")
    session.refresh_from_db()
    assert [mark["by"] for mark in session.marks] == ["ada", "bob"]


def test_it_reports_sessions_with_the_name_in_free_text(session):
    session.merge_meta({"note": "ask ada"}, by_staff=True)
    session.save_meta()
    assert f"Free text still contains this name in sessions {session.pk}.\n" in erase("ada")


def test_it_reports_robots_with_the_name(session):
    Robot.objects.create(pk="leg", name="Ada's leg")
    assert "Free text still contains this name in robots leg.\n" in erase("ada")


def test_it_processes_rows_in_batches(session, monkeypatch):
    monkeypatch.setattr(erase_person, "BATCH_ROWS", 2)
    for _ in range(5):
        other = make_session()
        other.set_marks([MARK | {"by": "ada"}])
        other.save_meta()
    assert "6 sessions with the name" in erase("ada")
    assert "'ada" not in everything()


def test_it_rolls_back_on_a_database_error(session, monkeypatch):
    def fail(*args):
        raise DatabaseError("the disk is full")

    before = everything()
    monkeypatch.setattr(type(TeleopSession.objects), "update_each", fail, raising=False)
    with pytest.raises(DatabaseError):
        erase("ada")
    assert everything() == before and Session.objects.count() == 2


@pytest.mark.parametrize("answer, is_erased", [("yes", True), ("y", False), ("", False)])
def test_it_asks_for_confirmation(session, monkeypatch, answer, is_erased):
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    if is_erased:
        call_command("erase_person", "ada", stdout=StringIO())
    else:
        with pytest.raises(CommandError, match="nothing was changed"):
            call_command("erase_person", "ada", stdout=StringIO())
    assert User.objects.filter(username="ada").exists() is not is_erased


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["ad"], r"no data found for 'ad'; .*/admin/auth/user/.* expected \(similar: ada\)"),
        (["--operator", "Eve"], "no data found for 'Eve'"),
        ([], "NAME, --operator TEXT or both expected"),
        (["removed user"], "another name expected"),
    ],
)
def test_it_refuses_an_unknown_or_reserved_name(session, arguments, says):
    with pytest.raises(CommandError, match=says):
        erase(*arguments)


def test_it_refuses_to_erase_a_person_twice(session):
    erase("ada")
    with pytest.raises(CommandError, match="no data found for 'ada'"):
        erase("ada")
