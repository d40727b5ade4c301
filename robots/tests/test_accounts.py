"""People: a new account with a role, the one-time link, the login without the staff box, the own token."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission, User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.cache import cache
from django.test import Client
from rest_framework.authtoken.models import Token

from robots.accounts.views import PasswordLinkPage
from robots.models import AuditEntry
from robots.tests.admin_clients import client_of, shown

pytestmark = [pytest.mark.django_db, pytest.mark.once]
ADD = "/admin/auth/user/add/"
TOKENS = "/admin/robots/apitoken/"
PASSWORD = "correct horse battery"
NEW_PASSWORD = {"new_password1": PASSWORD, "new_password2": PASSWORD}


@pytest.fixture(autouse=True)
def _no_failed_logins():
    cache.clear()


def person(name: str, *groups: str, **fields) -> User:
    """Return a person without the staff box."""
    user = User.objects.create_user(name, password=PASSWORD, **fields)
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


def link_in(page: str) -> str:
    return urlsplit(page.partition('<code class="key">')[2].partition("<")[0]).path


def invite(staff_admin, name="ada", role="viewer") -> str:
    """Add a person; return the path of the one-time link."""
    answer = staff_admin.post(ADD, {"username": name, "role": role})
    assert "no-store" in answer["Cache-Control"]
    return link_in(shown(answer))


def form_of(path: str) -> str:
    """Return the path to which an opened link leads: the token is in the session then."""
    return f"{path.rpartition('/')[0]}/set-password"


def opened(path: str) -> tuple[Client, str]:
    """Open a link; return the client and the page."""
    client = Client()
    return client, shown(client.get(path, follow=True))


@pytest.mark.parametrize("role", ["viewer", "administrator"])
def test_a_new_person_sets_a_password_with_the_link_and_is_logged_in(staff_admin, role):
    path = invite(staff_admin, role=role)
    client, page = opened(path)
    assert "Choose the password of" in page
    answer = client.post(form_of(path), NEW_PASSWORD)
    assert (answer.status_code, answer["Location"]) == (302, "/review")
    assert client.get("/robots").status_code == client.get("/admin/robots/robot/").status_code == 200
    ada = User.objects.get(username="ada")
    assert ada.check_password(PASSWORD) and ada.is_superuser is (role == "administrator")
    assert AuditEntry.objects.latest("pk").changes == {"password": ["***", "***"]}


def test_a_link_works_once(staff_admin):
    path = invite(staff_admin)
    first, second = opened(path)[0], opened(path)[0]
    first.post(form_of(path), NEW_PASSWORD)
    for _ in range(2):  # the second client has opened the form before
        page = shown(second.post(form_of(path), {"new_password1": "another 12345", "new_password2": "another 12345"}))
        assert "This link is not valid" in page
    assert "This link is not valid" in opened(path)[1]
    assert User.objects.get(username="ada").check_password(PASSWORD)


def test_of_two_simultaneous_uses_of_a_link_the_first_counts(staff_admin, monkeypatch):
    path = invite(staff_admin)
    client, _ = opened(path)
    get_form = PasswordLinkPage.get_form

    def form_after_another_request(page):
        User.objects.filter(username="ada").update(password=make_password("of the first one"))
        return get_form(page)

    monkeypatch.setattr(PasswordLinkPage, "get_form", form_after_another_request)
    assert "This link is not valid" in shown(client.post(form_of(path), NEW_PASSWORD))
    assert User.objects.get(username="ada").check_password("of the first one")


def test_a_link_expires_after_three_days(staff_admin, monkeypatch):
    path, start = invite(staff_admin), PasswordResetTokenGenerator()._now()
    for after, words in ((timedelta(days=2.9), "Choose the password"), (timedelta(days=3.1), "This link is not valid")):
        at = start + after
        monkeypatch.setattr(PasswordResetTokenGenerator, "_now", lambda self, at=at: at)
        assert words in opened(path)[1]


@pytest.mark.parametrize(
    "change", [{"is_active": False}, {"email": "a@example.org"}, {"last_login": datetime(2026, 1, 1, tzinfo=UTC)}]
)
def test_a_link_ends_with_the_account_and_with_a_login(staff_admin, change):
    path = invite(staff_admin)
    User.objects.filter(username="ada").update(**change)
    assert "This link is not valid" in opened(path)[1]


@pytest.mark.parametrize("path", ["x/y", "MQ/set-password", "MQ/c0de-00", "%00/x-y"])
def test_it_refuses_an_invalid_link(path):
    assert "This link is not valid" in opened(f"/account/password/{path}")[1]


def test_a_forgotten_password_gets_a_link_of_its_own(staff_admin, staff_curator):
    ada = person("ada", "viewer")
    path = f"/admin/auth/user/{ada.pk}/link/"
    assert path in shown(staff_admin.get(f"/admin/auth/user/{ada.pk}/change/"))
    assert "Issue a link" in shown(staff_admin.get(path))
    assert "Choose the password" in opened(link_in(shown(staff_admin.post(path))))[1]
    assert staff_curator.post(path).status_code == 403
    assert staff_admin.get("/admin/auth/user/0/link/").status_code == 404


@pytest.mark.parametrize(
    "fields", [{"role": "viewer", "username": "ADMIN"}, {"username": "eve"}, {"role": "x", "username": "eve"}]
)
def test_it_refuses_an_account_without_role_or_with_a_name_that_exists(staff_admin, fields):
    assert "errorlist" in shown(staff_admin.post(ADD, fields))
    assert User.objects.count() == 1


def test_only_a_superuser_adds_administrators():
    boss = person("boss")
    boss.user_permissions.set(Permission.objects.filter(codename__in=["add_user", "change_user", "view_user"]))
    assert "administrator" not in shown(client_of(boss).get(ADD))
    assert "errorlist" in shown(client_of(boss).post(ADD, {"username": "eve", "role": "administrator"}))


@pytest.mark.parametrize("groups, status", [(["viewer"], 302), (["curator"], 302), ([], 200)])
def test_people_with_a_role_log_in_without_the_staff_box(groups, status):
    person("ada", *groups)
    client = Client()
    answer = client.post("/admin/login/?next=/fleet", {"username": "ada", "password": PASSWORD, "next": "/fleet"})
    assert answer.status_code == status
    if groups:
        assert client.get("/admin/teleop/teleopsession/").status_code == client.get("/", follow=True).status_code == 200
        assert client.get(ADD).status_code == 403
    else:
        assert "Your account has no role." in answer.content.decode()


def test_people_create_replace_and_delete_their_own_token():
    other = Token.objects.create(user=person("eve", "viewer"))
    ada = person("ada", "viewer")
    client = client_of(ada)
    assert "You have no token" in shown(client.get("/account"))
    client.post("/account")
    first = Token.objects.get(user=ada).key
    answer = client.get("/account")
    assert first in shown(answer) and other.key not in shown(answer) and "no-store" in answer["Cache-Control"]
    client.post("/account")
    second = Token.objects.get(user=ada).key
    rest = Client()
    for token, status in ((first, 401), (second, 200)):
        assert rest.get("/robots", headers={"Authorization": f"Token {token}"}).status_code == status
    client.post("/account", {"delete": "1"})
    assert list(Token.objects.all()) == [other]
    actions = [entry.action for entry in AuditEntry.objects.filter(model="authtoken.token").order_by("pk")]
    assert actions == ["added", "deleted", "added", "deleted"]
    assert first not in str(list(AuditEntry.objects.values()))


def test_the_account_needs_a_login(client):
    for method in (client.get, client.post):
        assert method("/account")["Location"] == "/admin/login/?next=/account"


def test_the_list_of_tokens_shows_no_key(staff_admin, staff_curator):
    token = Token.objects.create(user=person("ada", "viewer"))
    page = f"{TOKENS}{token.user_id}"
    pages = [TOKENS, f"{page}/change/", f"{page}/delete/", f"{page}/history/"]
    texts = [shown(staff_admin.get(path)) for path in pages]
    assert all("ada" in text and token.key not in text for text in texts)
    assert [staff_curator.get(path).status_code for path in pages] == [403] * 4
    after = shown(staff_admin.post(f"{page}/delete/", {"post": "yes"}, follow=True))
    assert "token of ada" in after and token.key not in after and not Token.objects.exists()
