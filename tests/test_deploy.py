"""docker-compose.yml against the needs of the code, and its nginx, run natively, in front of the server."""

import json
import re
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.error import HTTPError

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from robots.models import Robot
from teleop.models import TeleopFrame, TeleopSession
from teleop.server import http_limits
from tests.chaos.environment import serving
from tests.nginx import COMPOSE, SLOW_S, Nginx
from tests.robot_socket import frame
from tests.services import ROOT, Server, wait_until
from videos.models import VideoChunk
from videos.tests.video_files import START, film

pytestmark = pytest.mark.once

SERVERS = ["migrate", "ingest", "web", "background"]
NGINX_CAPABILITIES = {"CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID"}
CONFINED = {
    "UMask": "0027",
    "StateDirectoryMode": "0750",
    "NoNewPrivileges": "true",
    "CapabilityBoundingSet": "",
    "SystemCallFilter": "@system-service",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "LockPersonality": "true",
    "MemoryDenyWriteExecute": "true",
    "PrivateDevices": "true",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
}


@pytest.fixture(scope="module")
def _nginx(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    media = folder / "media"
    with (
        serving(database_url, TRUSTED_PROXIES="127.0.0.1", MEDIA_ROOT=str(media)) as server,
        Nginx(folder, server, media) as nginx,
    ):
        yield nginx


@pytest.fixture
def nginx(_nginx: Nginx, transactional_db: None) -> Nginx:
    """Return nginx in front of a server with open registration, which starts again if a test ended it."""
    if not _nginx.server.pids:
        _nginx.server.start()
    return _nginx


def fetch(nginx: Nginx, path: str, data: bytes | None = None, **headers: str):
    request = urllib.request.Request(
        nginx.url + path, data, {name.replace("_", "-"): headers[name] for name in headers}
    )
    try:
        return urllib.request.urlopen(request, timeout=20)
    except HTTPError as error:
        return error


def test_robots_stream_through_nginx_and_cannot_spoof_their_address(nginx: Nginx):
    url = f"{nginx.url}/ws/log/arm?session=through-nginx&api_key=very-secret".replace("http", "ws")
    with connect(url, subprotocols=["teleop.v1"], additional_headers={"X-Forwarded-For": "192.0.2.7"}) as robot:
        assert '"type":"session"' in robot.recv(timeout=10)
        robot.send(json.dumps({"frames": [frame(index) for index in range(10)]}))
        assert robot.recv(timeout=10) == '{"type":"ack","frame_index":9}'
    assert TeleopFrame.objects.count() == 10
    # The test's address is in TRUSTED_PROXIES, like that of a client behind the gateway of the compose network.
    assert Robot.objects.get(pk="arm").ip_address == "127.0.0.1"
    wait_until(lambda: "/ws/log/arm" in nginx.output(), what="the access log")
    assert "very-secret" not in nginx.output()


def test_robot_connections_do_not_count_against_pages(nginx: Nginx):
    url = nginx.url.replace("http", "ws")
    with ExitStack() as robots, pytest.raises(InvalidStatus) as refused:
        for number in range(100):
            robots.enter_context(connect(f"{url}/ws/log/arm_{number}", compression=None, close_timeout=1))
        connect(f"{url}/ws/fleet")
    assert refused.value.response.status_code == 403  # not logged in


@pytest.fixture
def chunk(nginx: Nginx) -> tuple[VideoChunk, dict[str, str]]:
    """Return a video that was uploaded through nginx, and an administrator's headers."""
    headers = {"Authorization": f"Token {Token.objects.create(user=User.objects.create_superuser('admin'))}"}
    session = TeleopSession.objects.create(robot=Robot.objects.create(pk="arm"), key="morning-run")
    fields = {"session": session.pk, "camera_key": "front", "start_timestamp": START, "end_timestamp": START + 1}
    form = "".join(f'--x\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items())
    file = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    body = f"{form}{file}".encode() + film() + b"\r\n--x--\r\n"
    assert fetch(nginx, "/videos", body, **headers, Content_Type="multipart/form-data; boundary=x").status == 201
    return VideoChunk.objects.get(), headers


def test_nginx_serves_ranges_of_a_video(nginx: Nginx, chunk):
    video, headers = chunk
    part = fetch(nginx, f"/videos/{video.pk}/content", **headers, Range="bytes=4-7")
    assert (part.status, part.read()) == (206, film()[4:8])
    assert part.headers["Server"] == "nginx"
    wait_until(lambda: f"{part.headers['X-Request-ID']} 127.0.0.1" in nginx.output(), what="its line in the log")
    assert part.headers["Content-Range"] == f"bytes 4-7/{len(film())}"
    assert part.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'self'" in part.headers["Content-Security-Policy"]
    assert fetch(nginx, f"/protected-media/{video.file_path.name}", **headers).status == 404  # only the server may
    assert part.headers["ETag"] != f'"{video.sha256}"'  # the ETag is nginx's: nginx read the file


def test_nginx_blocks_metrics_large_bodies_and_slow_requests(nginx: Nginx):
    assert fetch(nginx, "/metrics").status == 403  # the request comes from this machine, but through a proxy
    assert fetch(nginx, "/robots", b"x" * (2**20 + 1), Content_Type="application/json").status == 413
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=10 * SLOW_S) as slow:
        slow.sendall(b"GET /ws/log/arm HTTP/1.1\r\nHost: local")
        assert slow.recv(1000)[:12] in (b"", b"HTTP/1.1 408")  # no more bytes follow


def test_nginx_refuses_an_upload_without_a_key_before_its_body(start_server: Callable[..., Server], tmp_path: Path):
    server = start_server(TRUSTED_PROXIES="127.0.0.1", MEDIA_ROOT=str(tmp_path / "media"))
    nginx = Nginx(tmp_path, server, tmp_path / "media").start()
    try:
        with socket.create_connection(("127.0.0.1", nginx.port), timeout=20) as client:
            client.sendall(b"POST /videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000000\r\n\r\n")
            client.sendall(bytes(2**20))
            assert client.recv(1000).startswith(b"HTTP/1.1 401")
        assert not [file for file in (tmp_path / "client_body").rglob("*") if file.is_file()]
    finally:
        nginx.stop()


def test_nginx_sets_request_ids_and_logs_no_key(nginx: Nginx):
    given = fetch(nginx, "/nothing", X_Request_ID="of the client").headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{32}", given)
    assert given in nginx.server.output()
    nginx.server.stop()
    assert fetch(nginx, "/robots?api_key=very-secret").status == 502
    wait_until(lambda: '"GET /robots" 502' in nginx.output(), what="the access log")
    assert "very-secret" not in nginx.output()


def test_compose_names_only_existing_settings():
    settings = (ROOT / "config/settings.py").read_text()
    there = set(re.findall(r'env\.\w+\("(\w+)"', settings))
    for name in SERVERS:
        assert set(COMPOSE["services"][name]["environment"]) <= there


def test_the_documented_limits_match_the_settings():
    table = dict(re.findall(r"^\| `(\w+)` \| (\d+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    security, protocol = ((ROOT / "docs" / name).read_text() for name in ("security.md", "protocol.md"))
    limits = re.findall(r"`(\w+_PER_\w+)` (\d+)", security)
    assert {"REFUSALS_PER_ADDRESS", "HTTP_REQUESTS_PER_ADDRESS"} <= dict(limits).keys()
    for name, default in limits:
        assert table[name] == default == str(getattr(settings, name))
    for name in ("CONNECTIONS_PER_ROBOT", "HANDSHAKES_PER_ROBOT", "NEW_SESSIONS_PER_ROBOT", "REFUSALS_PER_ADDRESS"):
        assert f"`{name}`" in protocol


def test_the_limits_of_nginx_are_no_stricter_than_the_servers():
    template = (ROOT / "deploy/nginx.conf.template").read_text()
    connections = {name: int(limit) for name, limit in re.findall(r"limit_conn (\w+) (\d+);", template)}
    rates = {name: int(rate) for name, rate in re.findall(r"zone=(\w+):10m rate=(\d+)r/s", template)}
    bursts = {name: int(burst) for name, burst in re.findall(r"limit_req zone=(\w+) burst=(\d+)", template)}
    workers = int(re.search(r":-(\d+)", COMPOSE["services"]["ingest"]["deploy"]["replicas"])[1])
    per_worker = 2 * settings.CONNECTIONS_PER_ADDRESS  # those whose key is checked, and the others
    assert connections["robots"] >= workers * per_worker
    assert connections["pages"] >= settings.CONNECTIONS_PER_ADDRESS
    assert connections["requests"] >= settings.HTTP_CONNECTIONS_PER_ADDRESS
    assert rates["handshakes_per_second"] >= http_limits.NEW_CONNECTIONS_PER_S
    assert bursts["handshakes_per_second"] >= 2 * http_limits.MAX_WAITING
    assert rates["requests_per_second"] >= settings.HTTP_REQUESTS_PER_ADDRESS
    waiting = settings.HTTP_REQUESTS_PER_ADDRESS * (http_limits.BURST_S + http_limits.MAX_WAIT_S)
    assert bursts["requests_per_second"] >= waiting


@pytest.mark.parametrize("name", SERVERS)
def test_compose_sets_the_required_environment_and_volumes(name: str):
    service = COMPOSE["services"][name]
    assert service["environment"]["DATABASE_URL"].split("@")[1].startswith("postgres:")
    assert re.fullmatch(r"redis://:\$\{REDIS_PASSWORD:\?.+\}@redis:6379/0", service["environment"]["REDIS_URL"])
    assert service["environment"]["SECRET_KEY"].startswith("${SECRET_KEY:?")  # without it compose does not start
    # /tmp holds bodies of 2 GiB; a tmpfs would keep them in memory.
    assert service["volumes"] == ["media:" + service["environment"]["MEDIA_ROOT"], "/tmp"]


def test_compose_starts_in_order():
    services = COMPOSE["services"]
    for name in ("ingest", "web"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert services["migrate"]["command"] == ["migrate"]


def test_nginx_and_compose_use_the_same_variables_and_ports():
    nginx = COMPOSE["services"]["nginx"]
    asked = set(re.findall(r"\$\{(\w+)\}", (ROOT / "deploy/nginx.conf.template").read_text()))
    assert asked == set(nginx["environment"])
    exposed = re.search(r"EXPOSE (\d+)", (ROOT / "Dockerfile").read_text())[1]
    assert nginx["environment"]["INGEST"] == f"ingest:{exposed}"
    assert nginx["environment"]["WEB"] == f"web:{exposed}"
    for volume in nginx["volumes"]:
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or (ROOT / source).exists()


def test_it_trusts_only_the_address_of_nginx():
    config = COMPOSE["networks"]["default"]["ipam"]["config"][0]
    address = ip_address(COMPOSE["services"]["nginx"]["networks"]["default"]["ipv4_address"])
    assert address in ip_network(config["subnet"])
    assert address not in ip_network(config["ip_range"])  # Docker gives the other containers addresses of this range
    assert str(address) != config["gateway"]
    for name in SERVERS:
        assert COMPOSE["services"][name]["environment"]["TRUSTED_PROXIES"] == str(address)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_it_confines_each_container(name: str):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert 0 < service["pids_limit"] <= 512
    assert set(service.get("cap_add", [])) == (NGINX_CAPABILITIES if name == "nginx" else set())
    if name not in SERVERS:  # their user is in the Dockerfile
        assert "user" in service or name == "nginx"
    assert service.get("user") != "root"


def test_it_gives_redis_a_password():
    service = COMPOSE["services"]["redis"]
    assert service["command"][-2:] == ["--requirepass", "${REDIS_PASSWORD:?}"]
    assert service["environment"] == {"REDISCLI_AUTH": "${REDIS_PASSWORD:?}"}
    assert "-e" in service["healthcheck"]["test"]  # without it redis-cli exits with 0 when it is refused


def test_it_pins_images_to_a_patch_version():
    dockerfile = (ROOT / "Dockerfile").read_text()
    images = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    images += [service["image"] for name, service in COMPOSE["services"].items() if name not in SERVERS]
    assert len(images) == 5
    for image in images:
        patch = r"\d+\.\d+" if image.startswith("postgres") else r"\d+\.\d+\.\d+"
        assert re.fullmatch(rf"[a-z]+:{patch}-\w+(-\w+)?(@sha256:[0-9a-f]{{64}})?", image), image
    assert "USER teleop" in dockerfile
    assert "pip install --require-hashes" in dockerfile


def pinned(file: str) -> dict[str, str]:
    """Return the lines of each package in a requirements file, hashes included."""
    lines = (ROOT / file).read_text().replace("\\\n", " ").splitlines()
    packages = [line for line in lines if line and not line.lstrip().startswith(("#", "--only-binary"))]
    return {re.split(r"[\[=<>~ ]", line)[0].lower().replace("_", "-").replace(".", "-"): line for line in packages}


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_it_installs_only_files_whose_hash_is_listed(name: str):
    listed = pinned(f"{name}.txt")
    for package, line in listed.items():
        assert re.search(r"==\S+ .*--hash=sha256:[0-9a-f]{64}\b", line), package
    for package, line in pinned(f"{name}.in").items():
        if package.startswith("-"):
            continue
        version, reason = re.search(r"==(\S+) +# (.+)", line).groups()
        assert reason
        assert f"=={version} " in listed[package], "make lock"
    makefile = (ROOT / "Makefile").read_text()
    assert f"--require-hashes -r {name}.txt" in makefile


def unit_directives(unit: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in unit.read_text().splitlines() if re.match(r"\w+=", line))


UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_it_confines_each_unit(unit: Path):
    directives = unit_directives(unit)
    confined = unit.read_text().split("# The same in all units")[1].split("[Install]")[0].strip()
    assert confined == UNITS[0].read_text().split("# The same in all units")[1].split("[Install]")[0].strip()
    assert {name: directives[name] for name in CONFINED} == CONFINED
    assert directives["User"] == "teleop"
    assert {"MemoryMax", "TasksMax"} <= directives.keys()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_analyze_rates_the_exposure_at_most_2_5(unit: Path):
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=25", unit]  # tenths: 2.5
    end = subprocess.run(command, capture_output=True, text=True)
    assert end.returncode == 0, end.stdout[-2000:] + end.stderr


def test_the_units_run_existing_commands():
    for unit in UNITS:
        for command in re.findall(r"^Exec\w+=.*manage.py (\w+)", unit.read_text(), re.MULTILINE):
            assert command == "migrate" or list(ROOT.glob(f"*/management/commands/{command}.py"))
