"""Requests of webhooks to receivers that hang, redirect, answer too much, or are in a private network."""

import base64
import hashlib
import hmac
import socket
import ssl
import subprocess
import threading

import pytest
from django.core.exceptions import ValidationError

from teleop.tests.webhook_receiver import LOOPBACK, Receiver, answers
from teleop.webhooks import addresses, request
from teleop.webhooks.request import MAX_ANSWER_BYTES, post
from teleop.webhooks.signature import check_secret, key_of, new_secret, signed_headers
from teleop.webhooks.target import check_url, parse_url

pytestmark = pytest.mark.once

GB = 10**9
NAME = "hooks.test"
getaddrinfo = socket.getaddrinfo


@pytest.fixture
def resolver(monkeypatch):
    """Return the list of addresses that the name server gives for NAME, one in each answer."""
    known = []

    def resolve(host, port, *args, **options):
        return getaddrinfo(known.pop(0) if host == NAME else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(request, "TIMEOUT_S", 0.3)


def test_it_sends_the_body_and_the_headers(receiver):
    assert post(f"{receiver.url}?team=1", b"{}", {"webhook-id": "msg_1"}) == (200, "", "")
    sent = receiver.requests[0]
    assert (sent.path, sent.body, sent.headers["webhook-id"]) == ("/hook?team=1", b"{}", "msg_1")
    assert sent.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert sent.headers["content-type"] == "application/json"


def test_it_gives_up_a_receiver_that_hangs(receiver, impatient):
    receiver.answers = [lambda handler: receiver.is_over.wait()]
    assert post(receiver.url, b"{}", {}) == (None, "no complete answer within 0.3 s", "")


def test_it_gives_up_a_receiver_that_sends_an_endless_head(receiver, impatient):
    def trickle(handler):
        while not receiver.is_over.wait(0.01):
            handler.wfile.write(b"H")

    receiver.answers = [trickle]
    assert post(receiver.url, b"{}", {}).error == "no complete answer within 0.3 s"


def test_it_does_not_follow_a_redirect_to_a_private_address(receiver):
    inside = Receiver("127.0.0.2")
    receiver.answers = [answers(302, Location=inside.url)]
    expected = f"the receiver answered 302 (Location: {inside.url}); redirects are not followed"
    assert post(receiver.url, b"{}", {}) == (302, expected, "")
    assert inside.requests == []
    inside.close()


def test_it_reads_no_more_than_64_kib_of_an_answer(receiver):
    sent, is_refused = [0], threading.Event()

    def answer(handler):
        answers(200, **{"Content-Length": str(GB)})(handler)
        try:
            while sent[0] < GB:
                sent[0] += handler.wfile.write(bytes(MAX_ANSWER_BYTES))
        finally:
            is_refused.set()

    receiver.answers = [answer]
    assert post(receiver.url, b"{}", {}) == (200, "", "")
    assert is_refused.wait(10) and sent[0] < GB / 10  # the rest was in buffers of the kernel


def test_it_returns_the_beginning_of_a_refusal(receiver):
    receiver.answers = [answers(500, b"no\0 \xff" + b"x" * 1000)]
    attempt = post(receiver.url, b"{}", {})
    assert attempt.error == "the receiver answered 500; 200 to 299 expected"
    assert attempt.answer == "no  \ufffd" + "x" * (request.MAX_EXCERPT - 5)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
def test_it_reports_a_receiver_that_does_not_speak_http(receiver, answer):
    def break_off(handler):
        handler.wfile.write(answer)
        handler.close_connection = True

    receiver.answers = [break_off]
    attempt = post(receiver.url, b"{}", {})
    assert attempt.status is None and attempt.error


def test_it_reports_that_nobody_listens(settings):
    settings.WEBHOOK_PRIVATE_NETWORKS = [LOOPBACK]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert "ConnectionRefusedError" in post(f"http://127.0.0.1:{unused.getsockname()[1]}/", b"{}", {}).error


def test_it_calls_no_private_address_by_default(receiver, settings):
    settings.WEBHOOK_PRIVATE_NETWORKS = []
    expected = "127.0.0.1, which is not public; WEBHOOK_PRIVATE_NETWORKS does not contain it"
    assert post(receiver.url, b"{}", {}).error == expected
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("10.0.0.7", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("::7f00:1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("fec0::1", False),
        ("64:ff9b::a00:7", False),
        ("2002:a00:7::1", False),
    ],
)
def test_it_knows_public_addresses(settings, address, is_public):
    settings.WEBHOOK_PRIVATE_NETWORKS = []
    assert addresses.is_allowed(address) is is_public


def test_it_refuses_a_name_with_a_private_address(receiver, resolver):
    resolver += ["127.0.0.2"]
    error = post(f"http://{NAME}:{receiver.port}/", b"{}", {}).error
    assert error.startswith(f"{NAME} has the address 127.0.0.2, which is not public")


def test_it_connects_to_the_address_that_it_has_checked(receiver, resolver):
    resolver += ["127.0.0.1", "127.0.0.2"]  # the second answer of the name server would not be allowed
    assert post(f"http://{NAME}:{receiver.port}/", b"{}", {}).status == 200
    assert receiver.requests[0].headers["host"] == f"{NAME}:{receiver.port}"
    assert resolver == ["127.0.0.2"]


@pytest.fixture
def certified(tmp_path, monkeypatch):
    """Return a function that starts a receiver with a certificate for a name, which this process trusts."""
    started = []

    def start(name: str) -> Receiver:
        file = str(tmp_path / "both.pem")
        kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        names = [
            "-subj",
            f"/CN={name}",
            "-addext",
            f"subjectAltName=DNS:{name}",
            "-keyout",
            file,
            "-out",
            f"{file}.crt",
        ]
        subprocess.run(["openssl", "req", *kind, *names], check=True, capture_output=True)
        with open(file, "a") as both, open(f"{file}.crt") as certificate:
            both.write(certificate.read())
        monkeypatch.setattr(request, "tls_context", lambda: ssl.create_default_context(cafile=f"{file}.crt"))
        started.append(Receiver(certificate=file))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.mark.parametrize(("name", "is_accepted"), [(NAME, True), ("other.test", False)])
def test_it_verifies_the_certificate_for_the_name(receiver, resolver, certified, name, is_accepted):
    resolver += ["127.0.0.1"]
    attempt = post(f"https://{NAME}:{certified(name).port}/", b"{}", {})
    assert attempt.status == (200 if is_accepted else None)
    assert is_accepted or "certificate" in attempt.error


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://example.org/", "is no URL of HTTP"),
        ("https:///hook", "is no URL of HTTP"),
        ("example.org/hook", "is no URL of HTTP"),
        ("https://user:secret@example.org/", "has a user or a password"),
        ("https://example.org/#part", "has a fragment (#part)"),
        ("https://example.org:99999/", "cannot be read: Port out of range"),
        ("https://exämple.org/", "a character outside ASCII"),
        ("https://example.org/a b", "has a space"),
        ("https://example.org/\r\nX: 1", "has a space"),
        ("https://example.org/" + "a" * 500, "has 520 characters; at most 500 expected"),
    ],
)
def test_it_refuses_a_url_that_it_cannot_call(url, problem):
    with pytest.raises(ValidationError, match=problem.replace("(", r"\(").replace(")", r"\)")):
        check_url(url)


def test_it_leaves_the_usual_port_out_of_the_host():
    assert parse_url("https://example.org:443/a?b=c") == ("https", "example.org", 443, "/a?b=c")
    assert parse_url("https://example.org:443").host_header == "example.org"
    assert parse_url("http://[2001:db8::1]:8080/").host_header == "[2001:db8::1]:8080"


def test_it_signs_as_standard_webhooks_does():
    """Compare with the example of the specification's own libraries."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    headers = signed_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_it_signs_the_time_and_the_body():
    secret = new_secret()
    check_secret(secret)
    headers = signed_headers(secret, "msg_1", 1795362003, b"{}")
    digest = hmac.new(base64.b64decode(secret[6:]), b"msg_1.1795362003.{}", hashlib.sha256).digest()
    assert base64.b64decode(headers["webhook-signature"].removeprefix("v1,")) == digest
    assert len(key_of(secret)) == 32


@pytest.mark.parametrize("secret", ["", "whsec_c2hvcnQ=", "whsec_no base64", "A" * 43 + "="])
def test_it_refuses_a_weak_secret(secret):
    with pytest.raises(ValidationError, match="24 to 64 random bytes expected"):
        check_secret(secret)
