"""Tokens, keys and logins, and how often they may be wrong."""

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from robots import throttling
from robots.models import Robot
from robots.tests.people import Client, client_with, robot_client

pytestmark = pytest.mark.django_db
PASSWORD = "a long password"


@pytest.fixture(autouse=True)
def _quick_and_without_a_past(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}  # no one else's
    cache.clear()


@pytest.fixture
def ada():
    return User.objects.create_user("ada", password=PASSWORD, is_superuser=True, is_staff=True)


def log_in(username="ada", password=PASSWORD, **headers):
    return Client().post("/auth/token", {"username": username, "password": password}, **headers)


def test_a_login_gives_a_token_that_is_let_in(ada):
    token = log_in().json()["token"]
    assert client_with(f"Token {token}").get("/robots").status_code == 200
    assert log_in().json()["token"] == token


@pytest.mark.parametrize("username, password", [("ada", "wrong"), ("nobody", PASSWORD), ("ADA", PASSWORD)])
def test_a_wrong_login_is_refused_and_does_not_say_what_was_wrong(ada, username, password):
    answer = log_in(username, password)
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Token")
    assert answer.json() == {"detail": "this name and password do not go together, or the account is closed"}


def test_who_has_left_is_not_let_in(ada):
    token = log_in().json()["token"]
    User.objects.update(is_active=False)
    assert log_in().status_code == 401
    assert client_with(f"Token {token}").get("/robots").status_code == 401


@pytest.mark.parametrize(
    "authorization", ["Token nonsense", "Token a\0b", "Token", "Bearer nonsense", "Token a b", "é"]
)
def test_who_is_not_known_is_told_so(authorization):
    answer = client_with(authorization).get("/robots")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json()["detail"]


def test_a_replaced_key_is_void():
    arm = robot_client("arm")
    Robot.objects.get().issue_key()
    answer = arm.patch("/sessions/1", {"meta_info": {}})
    assert (answer.status_code, answer.json()) == (401, {"detail": "the key is no robot's; it may have been replaced"})


def test_a_robot_without_a_key_is_not_found_by_an_empty_one():
    Robot.objects.create(pk="arm")
    assert client_with("Bearer ").get("/robots").status_code == 401


def test_where_no_key_is_asked_for_a_wrong_one_is_none(settings):
    settings.ROBOT_AUTH = "open"
    assert client_with("Bearer nonsense").get("/robots").status_code == 200


def test_a_page_that_is_logged_in_may_read_and_changes_only_with_its_csrf_token(ada):
    client = Client(enforce_csrf_checks=True)
    client.login(username="ada", password=PASSWORD)
    assert client.get("/robots").status_code == 200
    assert client.post("/robots", {"id": "arm"}).json()["detail"].startswith("CSRF Failed")


def test_after_five_failures_of_a_name_not_even_the_password_is_looked_at(ada):
    assert [log_in(password="wrong").status_code for _ in range(5)] == [401] * 5
    answer = log_in()
    assert (answer.status_code, answer["Retry-After"]) == (429, "900")


def test_other_addresses_and_names_are_not_held_up_by_it(ada):
    for _ in range(5):
        log_in(password="wrong")
    User.objects.create_user("bob", password=PASSWORD)
    assert log_in("bob").status_code == 200
    assert log_in(REMOTE_ADDR="10.0.0.9").status_code == 200


def test_a_success_forgets_the_failures_before_it(ada):
    for _ in range(3):
        assert [log_in(password="wrong").status_code for _ in range(4)] == [401] * 4
        assert log_in().status_code == 200


def test_an_address_that_tries_many_names_is_held_up_too(ada):
    statuses = [log_in(f"name {number}").status_code for number in range(50)]
    assert (set(statuses), log_in().status_code) == ({401}, 429)


def test_a_forged_forwarded_for_buys_no_more_attempts(ada):
    for number in range(5):
        log_in(password="wrong", HTTP_X_FORWARDED_FOR=f"10.0.0.{number}")
    assert log_in(HTTP_X_FORWARDED_FOR="10.1.1.1").status_code == 429


def test_the_admin_counts_too(ada, client):
    form = {"username": "ada", "password": "wrong"}
    for _ in range(5):
        client.post("/admin/login/", form)
    client.post("/admin/login/", form | {"password": PASSWORD})
    assert "_auth_user_id" not in client.session
    assert log_in().status_code == 429


@pytest.mark.parametrize(
    "body", [{}, {"username": "ada"}, {"username": 5, "password": 5}, {"username": "", "password": ""}, []]
)
def test_a_login_without_its_fields_is_refused(ada, body):
    assert Client().post("/auth/token", body).status_code == 400


def test_strangers_may_not_ask_for_ever(settings, monkeypatch):
    settings.ROBOT_AUTH = "open"
    monkeypatch.setattr(throttling, "ANONYMOUS_REQUESTS", 3)
    statuses = [Client().get("/robots", HTTP_X_FORWARDED_FOR=f"10.0.0.{n}").status_code for n in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert Client().get("/robots", REMOTE_ADDR="10.0.0.9").status_code == 200
    assert robot_client("arm").get("/robots").status_code == 200


@pytest.mark.parametrize("authorization", ["Bearer wrong", "Token wrong"])
def test_who_guesses_keys_is_counted_as_a_stranger(ada, monkeypatch, authorization):
    monkeypatch.setattr(throttling, "ANONYMOUS_REQUESTS", 3)
    token = log_in().json()["token"]
    answers = [client_with(authorization).get("/robots") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 429, 429]  # to log in was the first of three
    assert answers[-1]["Retry-After"] == "60"
    assert client_with(f"Token {token}").get("/robots").status_code == 200


def test_other_sites_read_only_if_they_are_listed(settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://lab.example"]
    asks = {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"}
    allowed = [
        Client().options("/robots", HTTP_ORIGIN=origin, **asks).headers.get("Access-Control-Allow-Origin")
        for origin in ("https://lab.example", "https://evil.example")
    ]
    assert allowed == ["https://lab.example", None]
