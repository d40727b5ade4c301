"""Tokens, keys and logins, and the limits on failed attempts."""

from datetime import timedelta
from io import StringIO
from unittest import mock

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client as Django
from django.utils import timezone
from rest_framework.authtoken.models import Token

from robots.api import throttling, tokens
from robots.api.exceptions import WrongLogin
from robots.models import Robot
from robots.tests.api_clients import Client, client_with, robot_client

pytestmark = [pytest.mark.django_db, pytest.mark.once]
PASSWORD = "a long password"


@pytest.fixture(autouse=True)
def _quick_and_without_a_past(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}  # not shared
    cache.clear()


@pytest.fixture
def ada():
    return User.objects.create_user("ada", password=PASSWORD, is_superuser=True, is_staff=True)


def log_in(username="ada", password=PASSWORD, **headers):
    return Client().post("/auth/token", {"username": username, "password": password}, **headers)


def test_a_login_returns_a_valid_token(ada):
    token = log_in().json()["token"]
    assert client_with(f"Token {token}").get("/robots").status_code == 200
    assert log_in().json()["token"] == token


@pytest.mark.parametrize("username, password", [("ada", "wrong"), ("nobody", PASSWORD), ("ADA", PASSWORD)])
def test_an_invalid_login_returns_401_without_details(ada, username, password):
    answer = log_in(username, password)
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Token")
    assert answer.json() == {"detail": "invalid username or password, or inactive account"}


def change_by_command(user: User) -> None:
    with mock.patch("getpass.getpass", return_value="another long password"):
        call_command("changepassword", user.username, stdout=StringIO())


def change_in_the_admin(user: User) -> None:
    root = Django()
    root.force_login(User.objects.create_superuser("root"))
    form = {"password1": "another long password", "password2": "another long password", "usable_password": "true"}
    assert root.post(f"/admin/auth/user/{user.pk}/password/", form).status_code == 302


def change_by_themselves(user: User) -> None:
    person = Django()
    person.force_login(user)
    new = {"new_password1": "another long password", "new_password2": "another long password"}
    assert person.post("/admin/password_change/", {"old_password": PASSWORD, **new}).status_code == 302


def set_in_the_shell(user: User) -> None:
    user.set_password(PASSWORD)  # also if the password is the same
    user.save()


def set_the_hash(user: User) -> None:
    user.password = make_password("another long password")
    user.save()


def disable_the_password(user: User) -> None:
    user.set_unusable_password()
    user.save(update_fields=["password"])


def deactivate(user: User) -> None:
    user.is_active = False
    user.save()


@pytest.mark.parametrize(
    "change",
    [
        change_by_command,
        change_in_the_admin,
        change_by_themselves,
        set_in_the_shell,
        set_the_hash,
        disable_the_password,
        deactivate,
    ],
)
def test_a_password_change_or_deactivation_revokes_the_token(ada, change):
    token = log_in().json()["token"]
    change(User.objects.get(pk=ada.pk))
    answer = client_with(f"Token {token}").get("/robots")
    assert answer.status_code == 401
    assert "a token becomes invalid when its user's password changes" in answer.json()["detail"]
    User.objects.update(is_active=True)
    assert client_with(f"Token {token}").get("/robots").status_code == 401


def test_a_token_stays_valid_after_a_login_and_other_changes(ada, settings):
    token = log_in().json()["token"]
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher", *settings.PASSWORD_HASHERS]
    before = User.objects.get().password
    assert log_in().json()["token"] == token  # rehashes the password
    assert User.objects.get().password != before
    ada.refresh_from_db()
    ada.email = "ada@lab.example"
    ada.save()
    assert client_with(f"Token {token}").get("/robots").status_code == 200


def test_a_token_expires_after_token_age_days(ada, settings):
    token = log_in().json()["token"]
    Token.objects.update(created=timezone.now() - timedelta(days=91))
    answer = client_with(f"Token {token}").get("/robots")
    assert answer.status_code == 401
    assert "expired after 90 days (TOKEN_AGE_DAYS); POST /auth/token issues a new one" in answer.json()["detail"]
    assert (new := log_in().json()["token"]) != token
    assert [client_with(f"Token {each}").get("/robots").status_code for each in (token, new)] == [401, 200]
    settings.TOKEN_AGE_DAYS = 0
    Token.objects.update(created=timezone.now() - timedelta(days=9999))
    assert client_with(f"Token {new}").get("/robots").status_code == 200


def test_it_issues_no_token_if_the_password_changed_concurrently(ada):
    stale = User.objects.get()
    ada.set_password("another long password")
    ada.save()
    with pytest.raises(WrongLogin):
        tokens.token_of(stale, PASSWORD)


def test_it_issues_a_token_if_another_login_hashed_the_same_password_again(ada):
    stale = User.objects.get()
    ada.set_password(PASSWORD)
    ada.save()
    assert tokens.token_of(stale, PASSWORD).user == ada


def test_it_returns_401_for_an_inactive_user(ada):
    token = log_in().json()["token"]
    User.objects.update(is_active=False)
    assert log_in().status_code == 401
    assert client_with(f"Token {token}").get("/robots").status_code == 401


@pytest.mark.parametrize(
    "authorization", ["Token nonsense", "Token a\0b", "Token", "Bearer nonsense", "Token a b", "é"]
)
def test_it_returns_401_for_invalid_credentials(authorization):
    answer = client_with(authorization).get("/robots")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json()["detail"]


def test_a_replaced_key_is_void():
    arm = robot_client("arm")
    Robot.objects.get().issue_key()
    answer = arm.patch("/sessions/1", {"meta_info": {}})
    assert answer.status_code == 401
    assert answer.json() == {"detail": "the key is not valid for any robot; it may have been replaced"}


def test_an_empty_key_does_not_match_a_robot_without_a_key():
    Robot.objects.create(pk="arm")
    assert client_with("Bearer ").get("/robots").status_code == 401


def test_open_mode_ignores_a_wrong_key(settings):
    settings.ROBOT_AUTH = "open"
    assert client_with("Bearer nonsense").get("/robots").status_code == 200


def test_session_login_requires_a_csrf_token_for_writes(ada):
    client = Client(enforce_csrf_checks=True)
    client.login(username="ada", password=PASSWORD)
    assert client.get("/robots").status_code == 200
    assert client.post("/robots", {"id": "arm"}).json()["detail"].startswith("CSRF Failed")


def test_it_returns_429_after_five_failed_logins_of_a_username(ada):
    assert [log_in(password="wrong").status_code for _ in range(5)] == [401] * 5
    answer = log_in()
    assert (answer.status_code, answer["Retry-After"]) == (429, "900")


def test_it_does_not_throttle_other_addresses_or_usernames(ada):
    for _ in range(5):
        log_in(password="wrong")
    User.objects.create_user("bob", password=PASSWORD)
    assert log_in("bob").status_code == 200
    assert log_in(REMOTE_ADDR="10.0.0.9").status_code == 200


def test_it_counts_failed_logins_per_ipv6_64_network(ada):
    addresses = [f"2001:db8::{number:x}" for number in range(1, 7)]
    statuses = [log_in(password="wrong", REMOTE_ADDR=address).status_code for address in addresses]
    assert statuses == [401] * 5 + [429]
    assert log_in(REMOTE_ADDR="2001:db8::ffff").status_code == 429
    assert log_in(REMOTE_ADDR="2001:db8:0:1::1").status_code == 200


def test_it_counts_ipv4_mapped_addresses_separately(ada):
    """A socket that listens on `::` reports IPv4 addresses in this form."""
    for _ in range(5):
        log_in(password="wrong", REMOTE_ADDR="::ffff:10.0.0.8")
    assert log_in(REMOTE_ADDR="10.0.0.8").status_code == 429
    assert log_in(REMOTE_ADDR="::ffff:10.0.0.9").status_code == 200


def test_it_throttles_failed_logins_of_a_username_across_addresses(ada, monkeypatch):
    monkeypatch.setattr(throttling, "FAILED_LOGINS_EVERYWHERE", 10)
    log_in(REMOTE_ADDR="10.9.9.9")
    addresses = [f"10.0.0.{number}" for number in range(3)]
    statuses = [log_in(password="wrong", REMOTE_ADDR=address).status_code for address in addresses for _ in range(5)]
    assert statuses == [401] * 10 + [429] * 5
    assert log_in(REMOTE_ADDR="10.1.1.1").status_code == 429
    # Ada can still log in from an address where she has logged in before, and other users from any address.
    assert log_in(REMOTE_ADDR="10.9.9.9").status_code == 200
    User.objects.create_user("bob", password=PASSWORD)
    assert log_in("bob", REMOTE_ADDR="10.1.1.1").status_code == 200


def test_one_address_cannot_exhaust_the_limit_across_addresses(ada, monkeypatch):
    monkeypatch.setattr(throttling, "FAILED_LOGINS_EVERYWHERE", 10)
    for _ in range(6):
        log_in(password="wrong")
        Django().post("/admin/login/", {"username": "ada", "password": "wrong"})
    assert log_in(REMOTE_ADDR="10.0.0.9").status_code == 200


def test_a_successful_login_resets_the_failure_count(ada):
    for _ in range(3):
        assert [log_in(password="wrong").status_code for _ in range(4)] == [401] * 4
        assert log_in().status_code == 200


def test_it_throttles_an_address_that_tries_many_usernames(ada):
    statuses = [log_in(f"name {number}").status_code for number in range(50)]
    assert (set(statuses), log_in().status_code) == ({401}, 429)


def test_a_forged_x_forwarded_for_does_not_evade_the_throttle(ada):
    for number in range(5):
        log_in(password="wrong", HTTP_X_FORWARDED_FOR=f"10.0.0.{number}")
    assert log_in(HTTP_X_FORWARDED_FOR="10.1.1.1").status_code == 429


def test_the_admin_login_shares_the_throttle(ada, client):
    form = {"username": "ada", "password": "wrong"}
    for _ in range(5):
        client.post("/admin/login/", form)
    answer = client.post("/admin/login/", form | {"password": PASSWORD})
    assert (answer.status_code, answer["Retry-After"]) == (429, "900")
    assert "Too many failed logins; try again in 15 minutes." in answer.content.decode()
    assert "_auth_user_id" not in client.session
    assert log_in().status_code == 429


@pytest.mark.parametrize(
    "body", [{}, {"username": "ada"}, {"username": 5, "password": 5}, {"username": "", "password": ""}, []]
)
def test_a_login_with_missing_or_invalid_fields_returns_400(ada, body):
    assert Client().post("/auth/token", body).status_code == 400


def test_it_throttles_anonymous_requests(settings, monkeypatch):
    settings.ROBOT_AUTH = "open"
    monkeypatch.setattr(throttling, "ANONYMOUS_REQUESTS", 3)
    statuses = [Client().get("/robots", HTTP_X_FORWARDED_FOR=f"10.0.0.{n}").status_code for n in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert Client().get("/robots", REMOTE_ADDR="10.0.0.9").status_code == 200
    assert robot_client("arm").get("/robots").status_code == 200


@pytest.mark.parametrize("authorization", ["Bearer wrong", "Token wrong"])
def test_it_returns_429_after_repeated_wrong_keys_and_accepts_valid_ones(ada, settings, authorization):
    settings.REFUSALS_PER_ADDRESS = 3
    assert [client_with(authorization).get("/robots").status_code for _ in range(3)] == [401] * 3
    answer = client_with(authorization).get("/robots", REMOTE_ADDR="127.0.0.1")
    assert (answer.status_code, answer["Retry-After"]) == (429, "60")
    assert client_with(f"Token {Token.objects.create(user=ada)}").get("/robots").status_code == 200
    assert robot_client("arm").get("/health").status_code == 200
    assert "REFUSALS_PER_ADDRESS" in answer.json()["detail"]
    assert client_with(authorization).get("/robots", REMOTE_ADDR="10.0.0.9").status_code == 401


def test_cors_allows_only_listed_origins(settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://lab.example"]
    asks = {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"}
    allowed = [
        Client().options("/robots", HTTP_ORIGIN=origin, **asks).headers.get("Access-Control-Allow-Origin")
        for origin in ("https://lab.example", "https://evil.example")
    ]
    assert allowed == ["https://lab.example", None]
