"""Redis as people have it: users with rights, TLS, full memory. It counts as working only if messages pass."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_client
from django.core.management import CommandError

from robots.redis_cache import RedisOrLocalCache
from teleop.management.commands.serve import Command
from teleop.monitoring import checks, health
from tests.services import Redis, free_port, redis, running

pytestmark = pytest.mark.once

USERS = {
    # the rights that docs/deploy.md names
    "right": [
        "resetkeys",
        "~:1:*",
        "resetchannels",
        "&asgi*",
        "-@all",
        "+@pubsub",
        "+@read",
        "+@write",
        "+@connection",
    ],
    "nochannels": ["~*", "+@all", "resetchannels"],
    "otherchannels": ["~*", "+@all", "resetchannels", "&other*"],
    "nosubscribe": ["~*", "&*", "+@all", "-subscribe"],
    "nopublish": ["~*", "&*", "+@all", "-publish"],
    "ponly": ["~*", "&*", "-@all", "+ping"],
}


@pytest.fixture(scope="module")
def service() -> Iterator[Redis]:
    with redis() as service:
        with redis_client.Redis(port=service.port) as admin:
            for name, rights in USERS.items():
                admin.execute_command("ACL", "SETUSER", name, "on", ">secret", *rights)
        yield service


class TlsRedis(Redis):
    """A Redis that speaks TLS only, with a certificate of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.certificate = folder / "redis.crt"
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        files = ["-keyout", folder / "redis.key", "-out", self.certificate]
        openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files]
        subprocess.run(openssl, check=True, capture_output=True)
        self.url = f"rediss://localhost:{self.port}/0"

    def command(self) -> list[str | Path]:
        tls = ["--tls-port", str(self.port), "--tls-cert-file", self.certificate, "--tls-auth-clients", "no"]
        return [*super().command(), "--port", "0", *tls, "--tls-key-file", self.folder / "redis.key"]

    def answers(self) -> bool:
        with redis_client.Redis.from_url(self.url, ssl_ca_certs=str(self.certificate)) as connection:
            try:
                return connection.ping()
            except redis_client.ConnectionError:
                return False


@pytest.fixture(scope="module")
def tls() -> Iterator[TlsRedis]:
    with running(TlsRedis) as service:
        yield service


@pytest.fixture
def use(settings, monkeypatch):
    """Return a function that makes this process use the Redis at a URL."""
    monkeypatch.setattr(RedisOrLocalCache, "_away_until", 0.0)

    def use(url: str) -> None:
        settings.REDIS_URL = url
        health.redis_client.cache_clear()

    yield use
    health.redis_client.cache_clear()


def url_of(service: Redis, user: str) -> str:
    return service.url.replace("//", f"//{user}:secret@")


def health_problem() -> str | None:
    probe = health.Probe(health.check_channel_layer)
    probe.start()
    return probe.problem()


def test_it_works_with_the_documented_rights(service: Redis, use, capsys):
    use(url_of(service, "right"))
    Command().check_redis()
    assert capsys.readouterr().err == ""
    assert health_problem() is None
    assert checks.channel_layer().verdict is checks.counters().verdict is checks.Verdict.OK


@pytest.mark.parametrize("user", ["nochannels", "otherchannels", "nosubscribe", "nopublish", "ponly"])
def test_it_names_missing_rights_everywhere(service: Redis, use, user: str):
    use(url_of(service, user))
    with pytest.raises(
        CommandError, match=r"the Redis of REDIS_URL cannot be used: NoPermissionError: .*\+@pubsub"
    ) as end:
        Command().check_redis()
    assert "secret" not in str(end.value) and "\n" not in str(end.value)
    assert health_problem() == "refuses messages (NoPermissionError)"
    found = checks.channel_layer()
    assert (found.verdict, found.id) == (checks.Verdict.FAILED, "teleop.E009")


@pytest.mark.parametrize(
    "change, printed",
    [
        (("right:secret@", "right:wrong@"), "AuthenticationError: "),
        (("right:secret@", "nobody:secret@"), "AuthenticationError: "),
        (("/0", "/99"), "ResponseError: DB index is out of range"),
    ],
)
def test_it_reports_a_wrong_setting_in_one_line(service: Redis, use, change: tuple[str, str], printed: str):
    use(url_of(service, "right").replace(*change))
    with pytest.raises(CommandError, match=f"^the Redis of REDIS_URL cannot be used: {printed}") as end:
        Command().check_redis()
    assert "secret" not in str(end.value) and "\n" not in str(end.value)


def test_it_starts_without_a_redis_that_does_not_answer(use, capsys):
    use(f"redis://127.0.0.1:{free_port()}/0")
    command = Command()
    command.check_redis()
    assert "starting without the Redis of REDIS_URL: ConnectionError" in capsys.readouterr().err
    assert health_problem() == "unreachable (ConnectionError)"


def test_it_uses_tls(tls: TlsRedis, use, capsys):
    use(f"{tls.url}?ssl_ca_certs={tls.certificate}")
    Command().check_redis()
    assert capsys.readouterr().err == ""
    assert health_problem() is None


def test_it_refuses_a_certificate_that_it_does_not_trust(tls: TlsRedis, use):
    use(tls.url)
    with pytest.raises(CommandError, match=r"the Redis of REDIS_URL cannot be used: .*certificate verify failed"):
        Command().check_redis()


def test_messages_pass_while_its_memory_is_full(service: Redis, use, capsys):
    use(service.url)
    with redis_client.Redis(port=service.port) as admin:
        admin.config_set("maxmemory", "1mb")
        try:
            Command().check_redis()
            assert capsys.readouterr().err == ""
            assert health_problem() is None
            found = checks.counters()
            cache = RedisOrLocalCache(service.url, {})
            cache.set("key", 1)  # requests go on: this process counts alone
            assert cache.get("key") == 1
        finally:
            admin.config_set("maxmemory", "0")
    assert (found.verdict, found.id) == (checks.Verdict.WARNING, "teleop.W010")
    assert "maxmemory" in found.what
