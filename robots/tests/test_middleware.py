"""Trust in X-Forwarded-Proto, and the answers that a cache may keep."""

import gzip
from ipaddress import ip_network

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.templatetags.static import static
from django.test import Client

from config.static_files import StaticFilesMiddleware, version
from robots.client_address import is_secure
from robots.middleware import CompressJSON

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
    assert is_secure(peer, scheme, {"x-forwarded-proto": proto} if proto else {}) is secure


@pytest.mark.parametrize("path", ["/", "/sessions", "/robots", "/robots/arm/live", "/docs", "/nowhere", "/admin/"])
def test_it_sends_no_store_for_private_pages(staff_viewer, path: str):
    answer = staff_viewer.get(path)
    directives = set(answer["Cache-Control"].split(", "))
    assert {"private", "no-store"} <= directives
    assert {"Authorization", "Cookie"} <= set(answer["Vary"].split(", ")) or path in ("/docs", "/nowhere")


def test_it_lets_browsers_keep_static_files_with_the_current_version_for_a_year(client):
    url = static("teleop/page.css")
    assert url == f"/static/{version()}/teleop/page.css"
    answer = client.get(url)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
    again = client.get(url, headers={"If-None-Match": answer["ETag"]})
    assert (again.status_code, again["Cache-Control"]) == (304, answer["Cache-Control"])
    older = client.get("/static/0123456789ab/teleop/page.css")
    assert (older.status_code, older.content, older["Cache-Control"]) == (200, answer.content, "max-age=60, public")
    assert client.get(f"/static/{version()}/teleop/none.css").status_code == 404


def test_it_lists_the_static_files_with_the_first_request_for_one(rf, settings):
    settings.WHITENOISE_AUTOREFRESH = False
    middleware = StaticFilesMiddleware(lambda _request: HttpResponse("a page"))
    assert middleware(rf.get("/robots")).content == b"a page" and not middleware.files
    assert middleware(rf.get("/static/teleop/page.css"))["Content-Type"].startswith("text/css")
    assert middleware(rf.get("/static/teleop/none.css")).content == b"a page"


@pytest.mark.parametrize(
    "response, is_compressed",
    [
        (HttpResponse(b"[" + b"1, " * 4000 + b"1]", content_type="application/json"), True),
        (HttpResponse(b"[" + b"1, " * 3000 + b"1]", content_type="application/json"), False),
        (HttpResponse(b" " * (4 * 2**20 + 1), content_type="application/json"), False),
        (HttpResponse(b" " * 20_000, content_type="text/html"), False),
        (HttpResponse(b" " * 20_000, content_type="application/json", headers={"Content-Range": "bytes 0-1/2"}), False),
        (StreamingHttpResponse([b" " * 20_000], content_type="application/json"), False),
    ],
    ids=["json", "small", "large", "html", "range", "stream"],
)
def test_it_compresses_json_of_medium_size(rf, response: HttpResponse, is_compressed: bool):
    answer = CompressJSON(lambda request: response)(rf.get("/sessions", headers={"Accept-Encoding": "gzip"}))
    assert (answer.headers.get("Content-Encoding") == "gzip") is is_compressed
    if is_compressed:
        assert len(gzip.decompress(answer.content)) == 12_003
        assert "Accept-Encoding" in answer["Vary"]


def test_it_compresses_nothing_for_clients_that_do_not_accept_it(rf):
    response = HttpResponse(b" " * 20_000, content_type="application/json")
    assert "Content-Encoding" not in CompressJSON(lambda request: response)(rf.get("/sessions"))


@pytest.mark.parametrize("path, has_policy", [("/admin/login/", True), ("/review", True), ("/robots", False)])
def test_it_sends_a_content_security_policy_with_all_but_json(db, path: str, has_policy: bool):
    assert ("Content-Security-Policy" in Client().get(path)) is has_policy


@pytest.mark.parametrize(
    "accept, status", [("*/*", 200), ("application/json", 200), ("text/*, */*;q=0.1", 200), ("image/png", 406)]
)
def test_it_negotiates_the_type_of_a_list(admin, accept: str, status: int):
    assert admin.get("/robots", headers={"Accept": accept}).status_code == status


def test_it_allows_caching_of_static_files(db):
    answer = Client().get("/static/teleop/page.css")
    assert answer.status_code == 200
    assert "no-store" not in answer["Cache-Control"]
    assert "Authorization" not in answer.get("Vary", "")
