import io
import json
import logging
import os
import subprocess
import sys

import pytest

from teleop.asgi import request_ids
from teleop.monitoring.logs import JSONFormatter, RateLimit, RefusedRequest, RequestId, TextFormatter

LOG_A_LINE = """
import os, logging, django
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
logging.getLogger("teleop").info("robot %s: over", "arm", extra={"robot": "arm"})
"""


def record(text="refused arm"):
    return logging.LogRecord("teleop.ingest.consumer", logging.WARNING, __file__, 1, text, (), None)


def test_it_limits_the_number_of_records():
    limit = RateLimit(most=3, seconds=10, clock=lambda: 0.0)
    assert [limit.filter(record()) for _ in range(5)] == [True, True, True, False, False]


def test_it_reports_the_number_of_suppressed_records():
    now = [0.0]
    limit = RateLimit(most=1, seconds=10, clock=lambda: now[0])
    for _ in range(4):
        limit.filter(record())
    now[0] = 10.0
    assert limit.filter(late := record())
    assert late.getMessage() == "refused arm (3 more were not logged)"


MANY_FIELDS = {f"field-{number}": "" for number in range(1001)}
BROKEN_FORM = {"data": b"--x", "content_type": "multipart/form-data; boundary="}


@pytest.fixture
def logged(monkeypatch) -> io.StringIO:
    """Return the text that the handler of the settings writes."""
    (handler,) = (handler for handler in logging.getLogger().handlers if handler.name == "stderr")
    monkeypatch.setattr(handler, "stream", io.StringIO())
    return handler.stream


@pytest.mark.once
@pytest.mark.parametrize(
    "request_, status, line",
    [
        ({"path": "/review"}, 403, "Forbidden (Permission denied): /review"),
        ({"path": "/admin/teleop/teleopsession/"}, 403, "Forbidden (Permission denied): /admin/teleop/teleopsession/"),
        ({"path": "/no-such-page"}, 404, "Not Found: /no-such-page"),
        ({"path": "/", "headers": {"host": "evil.example"}}, 400, "Invalid HTTP_HOST header: 'evil.example'"),
        ({"path": "/admin/login/", "data": MANY_FIELDS}, 400, "number of GET/POST parameters exceeded"),
        ({"path": "/admin/login/", **BROKEN_FORM}, 400, "Bad request (Unable to parse request body): /admin/login/"),
    ],
    ids=["page", "admin", "unknown path", "host", "fields", "form"],
)
def test_it_logs_a_refused_request_in_one_line(staff_outsider, logged, request_, status, line):
    """Send requests of a person without permissions, and of clients that are broken or malicious."""
    send = staff_outsider.post if "data" in request_ else staff_outsider.get
    assert send(**request_).status_code == status
    (found,) = logged.getvalue().splitlines()
    assert line in found


def test_an_error_of_the_server_keeps_its_traceback():
    try:
        raise ValueError
    except ValueError:
        failed = logging.LogRecord("django.request", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    failed.status_code = 500
    assert RefusedRequest().filter(failed) and failed.exc_info


def test_json_format_writes_an_object_with_the_extras():
    settings = subprocess.run(
        [sys.executable, "-c", LOG_A_LINE],
        env=os.environ | {"LOG_FORMAT": "json"},
        capture_output=True,
        text=True,
        check=True,
    )
    line = json.loads(settings.stderr)
    assert line["message"] == "robot arm: over"
    assert (line["levelname"], line["name"], line["robot"]) == ("INFO", "teleop", "arm")
    assert line["timestamp"].endswith("+00:00")


def test_a_record_of_a_request_has_its_request_id():
    token = request_ids.current.set("0123456789")
    RequestId().filter(inside := record())
    request_ids.current.reset(token)
    RequestId().filter(outside := record())
    assert (
        TextFormatter("%(name)s: %(message)s").format(inside)
        == "teleop.ingest.consumer: refused arm [request 0123456789]"
    )
    assert TextFormatter("%(message)s").format(outside) == "refused arm"
    assert json.loads(JSONFormatter("%(message)s").format(inside))["request_id"] == "0123456789"


@pytest.mark.parametrize(
    "text, masked",
    [
        (
            "<Request 'GET /ws/log/arm?api_key=K-1_x%20y&session=s'>",
            "<Request 'GET /ws/log/arm?api_key=***&session=s'>",
        ),
        ("GET /robots?a=1&API_KEY=K HTTP/1.1", "GET /robots?a=1&API_KEY=*** HTTP/1.1"),
        ("Authorization: Bearer K-1_x", "Authorization: Bearer ***"),
        (
            "[(b'authorization', b'Token K'), (b'x-api-key', b'K')]",
            "[(b'authorization', b'Token ***'), (b'x-api-key', b'***')]",
        ),
        ("{'X-Api-Key': 'K', 'Host': 'h'}", "{'X-Api-Key': '***', 'Host': 'h'}"),
        ("GET /ws/log/arm?api%5Fkey=K-1_x&session=s", "GET /ws/log/arm?api%5Fkey=***&session=s"),
        ("GET /ws/log/arm?session=s&%61pi_key=K-1_x HTTP/1.1", "GET /ws/log/arm?session=s&%61pi_key=*** HTTP/1.1"),
        ("<QueryDict: {'api_key': ['K-1_x'], 's': ['1']}>", "<QueryDict: {'api_key': ['***'], 's': ['1']}>"),
        ("Token 9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b", "Token ***"),
        ("bearer hR1tQ3o9ZyT0v1m0c7C4m3s6bYzJ8n2kq5xW_uLdE0A.", "bearer ***"),
        ("no X-API-Key header, and an invalid token; a token becomes invalid when its user's password changes", None),
    ],
)
def test_keys_are_masked_in_both_formats(text, masked):
    assert TextFormatter("%(message)s").format(record(text)) == (masked or text)
    assert json.loads(JSONFormatter("%(message)s").format(record(text)))["message"] == (masked or text)


def test_it_masks_a_long_path_of_escapes_in_linear_time():
    text = "Not Found: /" + "?%" * 8_000  # it would take minutes otherwise
    assert TextFormatter("%(message)s").format(record(text)) == text


def test_keys_are_masked_in_tracebacks_and_extra_fields():
    try:
        raise ValueError({"query": "?api_key=K-1_x"})
    except ValueError:
        failed = logging.LogRecord("a", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    failed.request = 'a "GET /?api_key=K-1_x"'
    for formatter in (TextFormatter("%(message)s"), JSONFormatter("%(message)s")):
        line = formatter.format(failed)
        assert "ValueError" in line and "K-1_x" not in line
