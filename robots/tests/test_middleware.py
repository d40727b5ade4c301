"""Whose X-Forwarded-Proto counts, and what a cache may keep."""

from ipaddress import ip_network

import pytest
from django.test import Client

from robots.client_address import client_address, counted_address, is_secure

NGINX = "10.0.0.1"


@pytest.fixture(autouse=True)
def _behind_nginx(settings):
    settings.TRUSTED_PROXIES = [ip_network(NGINX)]


@pytest.mark.parametrize(
    "peer, proto, status",
    [(NGINX, "https", 200), (NGINX, "http", 301), ("127.0.0.1", "https", 301), ("192.0.2.7", "https", 301)],
)
def test_only_a_trusted_proxy_says_that_the_client_came_by_tls(db, settings, peer: str, proto: str, status: int):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    answer = Client(REMOTE_ADDR=peer).get("/admin/login/", HTTP_X_FORWARDED_PROTO=proto)
    assert answer.status_code == status


@pytest.mark.parametrize(
    "peer, scheme, proto, secure",
    [
        (NGINX, "ws", "https", True),
        (NGINX, "ws", "http", False),
        (NGINX, "wss", "http", False),
        (NGINX, "ws", "", False),
        ("192.0.2.7", "ws", "https", False),
        ("192.0.2.7", "wss", "", True),
        (None, "http", "https", False),
    ],
)
def test_so_it_is_for_sockets(peer: str | None, scheme: str, proto: str, secure: bool):
    assert is_secure(peer, scheme, proto) is secure


def test_an_ipv4_client_of_an_ipv6_socket_has_its_ipv4_address():
    assert client_address("::ffff:192.0.2.7", "") == counted_address("::ffff:192.0.2.7", "") == "192.0.2.7"
    assert client_address("::ffff:10.0.0.1", "192.0.2.8") == "192.0.2.8"


@pytest.mark.parametrize("path", ["/", "/sessions", "/robots", "/robots/arm/live", "/docs", "/nowhere", "/admin/"])
def test_no_cache_keeps_what_may_be_private(staff_viewer, path: str):
    answer = staff_viewer.get(path)
    directives = set(answer["Cache-Control"].split(", "))
    assert {"private", "no-store"} <= directives
    assert {"Authorization", "Cookie"} <= set(answer["Vary"].split(", ")) or path in ("/docs", "/nowhere")


def test_static_files_may_be_kept(db):
    answer = Client().get("/static/teleop/page.css")
    assert answer.status_code == 200
    assert "no-store" not in answer["Cache-Control"]
    assert "Authorization" not in answer.get("Vary", "")
