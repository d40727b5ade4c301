"""Trust in X-Forwarded-Proto, and the answers that a cache may keep."""

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
def test_it_trusts_x_forwarded_proto_only_from_trusted_proxies(db, settings, peer: str, proto: str, status: int):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    answer = Client(REMOTE_ADDR=peer).get("/admin/login/", HTTP_X_FORWARDED_PROTO=proto)
    assert answer.status_code == status


@pytest.mark.parametrize(
    "peer, scheme, proto, secure",
    [
        (NGINX, "ws", "https", True),
        (NGINX, "ws", "http", False),
        (NGINX, "ws", "https, http", True),
        (NGINX, "wss", "http", False),
        (NGINX, "ws", "", False),
        ("192.0.2.7", "ws", "https", False),
        ("192.0.2.7", "wss", "", True),
        (None, "http", "https", False),
    ],
)
def test_it_detects_secure_websocket_connections(peer: str | None, scheme: str, proto: str, secure: bool):
    assert is_secure(peer, scheme, proto) is secure


def test_it_unwraps_ipv4_mapped_ipv6_addresses():
    assert client_address("::ffff:192.0.2.7", "") == counted_address("::ffff:192.0.2.7", "") == "192.0.2.7"
    assert client_address("::ffff:10.0.0.1", "192.0.2.8") == "192.0.2.8"


@pytest.mark.parametrize("path", ["/", "/sessions", "/robots", "/robots/arm/live", "/docs", "/nowhere", "/admin/"])
def test_it_sends_no_store_for_private_pages(staff_viewer, path: str):
    answer = staff_viewer.get(path)
    directives = set(answer["Cache-Control"].split(", "))
    assert {"private", "no-store"} <= directives
    assert {"Authorization", "Cookie"} <= set(answer["Vary"].split(", ")) or path in ("/docs", "/nowhere")


def test_it_allows_caching_of_static_files(db):
    answer = Client().get("/static/teleop/page.css")
    assert answer.status_code == 200
    assert "no-store" not in answer["Cache-Control"]
    assert "Authorization" not in answer.get("Vary", "")
