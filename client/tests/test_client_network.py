"""The connection's options, and the words for the errors that real sockets cause."""

import asyncio
import contextlib
import datetime
import errno
import socket
import ssl
import struct
import time

import pytest
from teleop_client.network import ERRORS, connect_options, explain
from test_client_sockets import on_loop
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

NAME = "localhost"
PASSWORD = "pass-word"
PROXY_VARIABLES = ["http_proxy", "https_proxy", "ws_proxy", "wss_proxy", "socks_proxy", "all_proxy", "no_proxy"]


@pytest.fixture(autouse=True)
def no_proxy_in_environment(monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextlib.asynccontextmanager
async def listening(respond, context=None):
    """Serve `respond(reader, writer)` on a free port; yield the port."""
    tasks = set()

    def accepted(reader, writer):
        tasks.add(asyncio.create_task(respond(reader, writer)))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(data):
    async def respond(reader, writer):
        await reader.read(2000)
        writer.write(data)
        writer.close()

    return respond


async def silence(reader, writer):
    await reader.read()


async def reset(reader, writer):
    linger = struct.pack("ii", 1, 0)  # close by RST
    writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def http(status):
    return f"HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n".encode()


async def failure(url, timeout_s=5, **options):
    """Fail to connect; return what `explain` says of it."""
    options = {"proxy": None} | options
    with pytest.raises(ERRORS) as caught:
        await connect(url, open_timeout=timeout_s, **connect_options(url=url, **options))
    return explain(caught.value, url, options["proxy"])


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


# TLS


class Authority:
    """A company's own CA, as `file`."""

    def __init__(self, folder):
        self.key, self.folder = self.new_key(), folder
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.issue("The company's CA", self.key, is_ca=True))

    @staticmethod
    def new_key():
        ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
        return ec.generate_private_key(ec.SECP256R1())

    def issue(self, name, key, is_ca=False, since=-1, until=1):
        """Return a certificate in PEM. `since` and `until` are days from now."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization

        issuer, subject = (
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, who)]) for who in ("The company's CA", name)
        )
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now + datetime.timedelta(since))
        builder = builder.not_valid_after(now + datetime.timedelta(until))
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        if is_ca:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
            identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            builder = builder.add_extension(identifier, critical=False)
        else:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def server(self, name=NAME, **validity):
        """Return the context of a server with a certificate for the name."""
        from cryptography.hazmat.primitives import serialization as form

        key, file = self.new_key(), self.folder / "server.pem"
        pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        file.write_bytes(pem + self.issue(name, key, **validity))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


async def echo(connection):
    async for message in connection:
        await connection.send(message)


@pytest.mark.parametrize("option", ["ca_file", "ca_file as text", "ssl"])
@on_loop
async def test_it_connects_to_a_server_with_the_certificate_of_a_companys_ca(authority, option):
    given = {
        "ca_file": {"ca_file": authority.file},
        "ca_file as text": {"ca_file": str(authority.file)},
        "ssl": {"ssl": ssl.create_default_context(cafile=authority.file)},
    }[option]
    async with serve(echo, "127.0.0.1", 0, ssl=authority.server()) as server:
        url = f"wss://{NAME}:{server.sockets[0].getsockname()[1]}/"
        async with connect(url, **connect_options(url=url, **given)) as connection:
            await connection.send("hello")
            assert await connection.recv() == "hello"


def test_the_file_of_a_ca_is_trusted_in_addition_to_the_system(authority, monkeypatch, tmp_path):
    system = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(system.file))
    context = connect_options(url="wss://robots", ca_file=authority.file)["ssl"]
    assert len(context.get_ca_certs()) == 2


CERTIFICATES = {
    "untrusted": ({"ca": False}, ["is not trusted", "ca_file="], False),
    "another name": ({"name": "robots.example.com"}, ["is for another name", f"'{NAME}'"], False),
    "expired": ({"since": -9, "until": -2}, ["has expired", "date is 2"], False),
    "not yet valid": ({"since": 2, "until": 9}, ["is not yet valid", "this robot's date is 2"], True),
}


@pytest.mark.parametrize(("certificate", "words", "is_local"), CERTIFICATES.values(), ids=CERTIFICATES)
@on_loop
async def test_it_explains_why_it_refuses_a_certificate(authority, certificate, words, is_local):
    certificate = dict(certificate)
    ca_file = authority.file if certificate.pop("ca", True) else None
    async with listening(silence, authority.server(**certificate)) as port:
        sentence, local = await failure(f"wss://{NAME}:{port}/", ca_file=ca_file)
    assert f"certificate of {NAME}:{port} " in sentence
    assert [word for word in words if word not in sentence] == []
    assert local is is_local


@on_loop
async def test_it_names_the_robots_date_if_a_certificate_is_not_yet_valid(authority):
    dates = {time.strftime("%Y-%m-%d", time.gmtime())}
    async with listening(silence, authority.server(since=2, until=9)) as port:
        sentence, _ = await failure(f"wss://{NAME}:{port}/", ca_file=authority.file)
    dates.add(time.strftime("%Y-%m-%d", time.gmtime()))
    assert any(date in sentence for date in dates)


@pytest.mark.parametrize("data", [http(400), b"SSH-2.0-OpenSSH\r\n", b"\x15\x03\x01\0\2\2\x46"])
@on_loop
async def test_it_explains_that_the_server_speaks_no_tls(data):
    async with listening(answering(data)) as port:
        sentence, local = await failure(f"wss://127.0.0.1:{port}/")
    assert (f"127.0.0.1:{port} does not answer with TLS" in sentence, "use ws://" in sentence, local) == (1, 1, False)


@on_loop
async def test_it_explains_that_the_server_expects_tls(authority):
    async with listening(silence, authority.server()) as port:
        sentence, local = await failure(f"ws://127.0.0.1:{port}/")
    assert ("use wss://" in sentence, local) == (True, False)


@on_loop
async def test_it_does_not_suggest_tls_to_a_client_that_uses_it(authority):
    async with listening(answering(b""), authority.server()) as port:
        sentence, _ = await failure(f"wss://{NAME}:{port}/", ca_file=authority.file)
    assert (sentence.startswith(f"{NAME}:{port} closed the connection"), "wss://" in sentence) == (True, False)


BAD_OPTIONS = {
    "ca_file of a plain connection": ({"url": "ws://robots", "ca_file": "ca.pem"}, "wss://"),
    "ssl of a plain connection": ({"url": "http://robots", "ssl": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}, "wss://"),
    "both": ({"ca_file": "ca.pem", "ssl": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}, "both given"),
    "no file": ({"ca_file": "/does/not/exist.pem"}, r"exist\.pem.*No such file"),
    "no certificate": ({"ca_file": __file__}, "no certificate in PEM format"),
    "a folder": ({"ca_file": "/"}, "cannot be used"),
    "compression": ({"compression": "gzip"}, "gzip.*'deflate' or None"),
    "proxy without a scheme": ({"proxy": f"user:{PASSWORD}@proxy:3128"}, "http://user:password@host:port"),
    "proxy with a slash": ({"proxy": f"http://user:{PASSWORD}/@proxy:3128"}, "%2F for /"),
    "proxy without a password": ({"proxy": "http://user@proxy:3128"}, "http://user:password@host:port"),
    "no proxy": ({"proxy": False}, "True, None"),
}


@pytest.mark.parametrize(("options", "words"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_it_refuses_options_that_cannot_work(options, words):
    with pytest.raises(ValueError, match=words) as error:
        connect_options(**{"url": "wss://robots"} | options)
    assert PASSWORD not in str(error.value)


# The network


@on_loop
async def test_it_explains_a_refused_connection():
    port = free_port()
    sentence, local = await failure(f"ws://127.0.0.1:{port}/")
    assert (sentence.startswith(f"127.0.0.1:{port} refused the connection"), local) == (True, False)


@pytest.mark.parametrize("host", ["does-not-exist.invalid", "two..dots"])
@on_loop
async def test_it_explains_that_a_name_was_not_found(host):
    sentence, local = await failure(f"ws://{host}/", timeout_s=20)
    assert (sentence.startswith(f"the name of {host}:80 was not found"), local) == (True, True)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@on_loop
async def test_it_explains_that_the_server_did_not_answer(scheme):
    async with listening(silence) as port:
        sentence, local = await failure(f"{scheme}://127.0.0.1:{port}/", timeout_s=0.05)
    assert (sentence.startswith(f"127.0.0.1:{port} did not answer in time"), local) == (True, False)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@on_loop
async def test_it_explains_that_the_server_closed_the_connection(scheme):
    async with listening(reset) as port:
        sentence, local = await failure(f"{scheme}://127.0.0.1:{port}/")
    assert (sentence.startswith(f"127.0.0.1:{port} closed the connection"), local) == (True, False)


ANSWERS = {
    "400": (http(400), "answered HTTP 400 and opened no WebSocket: check the address and its path; if it expects TLS"),
    "404": (http(404), "answered HTTP 404 and opened no WebSocket: check the address and its path"),
    "200": (http(200), "answered HTTP 200 and opened no WebSocket"),
    "503": (http(503), "is not ready: it answered HTTP 503"),
    "no upgrade": (b"HTTP/1.1 101 Switching\r\n\r\n", "answered, but opened no WebSocket (InvalidUpgrade)"),
    "ssh": (b"SSH-2.0-OpenSSH\r\n", "sent something that is not HTTP"),
    "nothing": (b"", "closed the connection in place of an answer"),
    "login page": (
        b"HTTP/1.1 302 Found\r\nLocation: http://portal/?token=secret\r\n\r\n",
        "redirects to http://portal, which is no WebSocket",
    ),
}


@pytest.mark.parametrize(("data", "words"), ANSWERS.values(), ids=ANSWERS)
@on_loop
async def test_it_explains_an_answer_that_is_no_websocket(data, words):
    async with listening(answering(data)) as port:
        sentence, local = await failure(f"ws://127.0.0.1:{port}/ws/log/robot_A?session=secret")
    assert (sentence.startswith(f"127.0.0.1:{port} {words}"), local, "secret" in sentence) == (True, False, False)


# As asyncio reports them: one address, then two of the same name.
SOCKET_ERRORS = {
    "no network": (OSError(errno.ENETUNREACH, "Network is unreachable"), "no route to", True),
    "no route": (OSError(errno.EHOSTUNREACH, "Connect call failed ('10.0.0.1', 80)"), "no route to", True),
    "no IPv6, and refused": (
        OSError(f"Multiple exceptions: [Errno {errno.ENETUNREACH}] no, [Errno {errno.ECONNREFUSED}] no"),
        "refused the connection",
        False,
    ),
    "neither": (
        OSError(f"Multiple exceptions: [Errno {errno.ENETUNREACH}] no, [Errno {errno.EHOSTUNREACH}] no"),
        "no route to",
        True,
    ),
    "no IPv6, and forbidden": (
        OSError(f"Multiple exceptions: [Errno {errno.ENETUNREACH}] no, [Errno {errno.EACCES}] no"),
        "failed: Multiple exceptions",
        False,
    ),
    "Windows": (OSError("Multiple exceptions: [WinError 1231] no, [WinError 1232] no"), "no route to", True),
    "no answer": (TimeoutError(errno.ETIMEDOUT, "Connect call failed"), "did not answer in time", False),
    "firewall": (PermissionError(errno.EPERM, "Operation not permitted"), "Operation not permitted", False),
    "unknown": (RuntimeError(PASSWORD), "failed: RuntimeError", False),
}


@pytest.mark.parametrize(("error", "words", "is_local"), SOCKET_ERRORS.values(), ids=SOCKET_ERRORS)
def test_it_explains_the_errors_of_sockets(error, words, is_local):
    sentence, local = explain(error, "https://[::1]:8443/teleop", None)
    assert (words in sentence, "[::1]:8443" in sentence, local) == (True, True, is_local)
    assert PASSWORD not in sentence


# Proxies

PROXY_ANSWERS = {
    "407": (http(407), "asks for another user name and password"),
    "403": (http(403), "did not connect to robots.invalid:80: it answered HTTP 403"),
    "502": (http(502), "did not connect to robots.invalid:80: it answered HTTP 502"),
    "ssh": (b"SSH-2.0-OpenSSH\r\n", "sent something that is not HTTP"),
    "nothing": (b"", "closed the connection in place of an answer"),
}


def assert_names_proxy(sentence, address):
    assert f"the proxy {address} " in sentence
    assert "if robots.invalid needs no proxy, add it to NO_PROXY" in sentence
    assert "proxy=None" in sentence
    assert "user:" not in sentence.replace("http://user:password@host:port", "")
    assert PASSWORD not in sentence


@pytest.mark.parametrize(("data", "words"), PROXY_ANSWERS.values(), ids=PROXY_ANSWERS)
@on_loop
async def test_it_explains_the_answer_of_a_proxy(data, words):
    async with listening(answering(data)) as port:
        proxy = f"http://user:{PASSWORD}@127.0.0.1:{port}"
        sentence, local = await failure("ws://robots.invalid/", proxy=proxy)
    assert_names_proxy(sentence, f"http://127.0.0.1:{port}")
    assert (words in sentence, local) == (True, False)


@pytest.mark.parametrize("given", ["as an option", "in the environment"])
@on_loop
async def test_it_explains_that_a_proxy_is_not_there(given, monkeypatch):
    port = free_port()
    proxy = f"http://user:{PASSWORD}@127.0.0.1:{port}"
    if given == "in the environment":
        monkeypatch.setenv("https_proxy", proxy)
        proxy = True
    sentence, local = await failure("wss://robots.invalid/", proxy=proxy)
    assert_names_proxy(sentence, f"http://127.0.0.1:{port}")
    assert (sentence.startswith(f"the proxy http://127.0.0.1:{port} refused"), local) == (True, False)


@on_loop
async def test_it_explains_that_the_name_of_a_proxy_was_not_found():
    proxy = f"http://user:{PASSWORD}@does-not-exist.invalid:3128"
    sentence, local = await failure("ws://robots.invalid/", timeout_s=20, proxy=proxy)
    assert_names_proxy(sentence, "http://does-not-exist.invalid:3128")
    assert ("was not found" in sentence, local) == (True, True)


@on_loop
async def test_it_explains_that_the_way_through_a_proxy_is_closed():
    async with listening(silence) as port:
        proxy = f"http://user:{PASSWORD}@127.0.0.1:{port}"
        sentence, local = await failure("ws://robots.invalid/", timeout_s=0.05, proxy=proxy)
    assert f"robots.invalid:80, through the proxy http://127.0.0.1:{port}, did not answer" in sentence
    assert ("proxy=None" in sentence, PASSWORD in sentence, local) == (True, False, False)


@pytest.mark.parametrize(
    "proxy",
    [f"user:{PASSWORD}@proxy:3128", f"http://user:{PASSWORD}@proxy/path", f"http://{PASSWORD}:pass/x@proxy:3128"],
)
@on_loop
async def test_it_explains_that_the_environment_has_no_usable_proxy(proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", proxy)
    sentence, local = await failure("ws://robots.invalid/", proxy=True)
    assert (sentence.startswith("the proxy cannot be used: an address like"), local) == (True, False)
    assert PASSWORD not in sentence


@on_loop
async def test_it_goes_around_the_proxy_that_the_environment_excepts(monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    port = free_port()
    sentence, _ = await failure(f"ws://127.0.0.1:{port}/", proxy=True)
    assert sentence.startswith(f"127.0.0.1:{port} refused the connection")


@on_loop
async def test_it_explains_the_answer_of_a_socks_proxy():
    pytest.importorskip("python_socks")
    async with listening(answering(b"\x05\xff")) as port:
        proxy = f"socks5h://user:{PASSWORD}@127.0.0.1:{port}"
        sentence, local = await failure("ws://robots.invalid/", proxy=proxy)
    assert_names_proxy(sentence, f"socks5h://127.0.0.1:{port}")
    assert ("No acceptable authentication methods" in sentence, local) == (True, False)


def test_it_explains_that_a_socks_proxy_needs_a_package():
    sentence, _ = explain(ImportError("no"), "ws://robots.invalid/", f"socks5h://user:{PASSWORD}@proxy:1080")
    assert_names_proxy(sentence, "socks5h://proxy:1080")
    assert "python-socks" in sentence


# Compression


@pytest.mark.parametrize("server", ["deflate", None])
@pytest.mark.parametrize("client", ["deflate", None])
@on_loop
async def test_it_compresses_if_both_ends_want_it(client, server):
    async with serve(echo, "127.0.0.1", 0, compression=server) as running:
        url = f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}/"
        async with connect(url, **connect_options(url=url, compression=client, proxy=None)) as connection:
            offered = connection.request.headers.get("Sec-WebSocket-Extensions", "")
            assert bool(connection.protocol.extensions) == bool(client and server)
            assert ("server_no_context_takeover; client_max_window_bits=12" in offered) == bool(client)
            for message in ("a frame", "a frame", "a frame of 9 KB " * 600):
                await connection.send(message, text=True)
                assert await connection.recv() == message
