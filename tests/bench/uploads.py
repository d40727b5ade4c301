"""The cost of large uploads through nginx: `python -m tests.bench.uploads`, on a disk with 8 GiB of free space.

For films of 2 and 1 GiB it prints the bytes that the server and nginx write (the kernel's count for each process; a
folder in a tmpfs counts nothing), and the growth of the server's memory from before the upload to its peak. Cores as in
`python -m tests.bench`.
"""

import http.client
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tests.bench.serving import SERVER_CORE, migrate, shell
from tests.bench.side_load import arguments, superuser
from tests.nginx import Nginx
from tests.services import Server
from videos.tests.video_files import START, film

BLOCK_BYTES = 2**20
BOUNDARY = "film"
SESSION = """
from robots.models import Robot
from teleop.models import TeleopSession
robot, _ = Robot.objects.get_or_create(pk="arm")
print(TeleopSession.objects.create(robot=robot, key="large-films").pk)
"""


class Uploads:
    """Uploads by an administrator to one session; each film has a second of pictures and then what players skip."""

    def __init__(self, nginx: Nginx, server: Server, environment: dict[str, str]) -> None:
        self._nginx, self._token = nginx, superuser(environment)[1]
        self._session = int(shell(SESSION, environment))
        self._processes = {"server": psutil.Process(server.pid), "nginx": psutil.Process(nginx.pid)}
        self._count = 0

    def send(self, film_bytes: int) -> float:
        """Upload a new film of this size; return the seconds until the answer."""
        self._count += 1
        start = START + self._count
        fields = {"session": self._session, "camera_key": "front", "start_timestamp": start, "end_timestamp": start + 1}
        form = "".join(
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        file = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        head, tail = f"{form}{file}".encode(), f"\r\n--{BOUNDARY}--\r\n".encode()
        connection = http.client.HTTPConnection(urlsplit(self._nginx.url).netloc, timeout=600)
        connection.putrequest("POST", "/videos")
        connection.putheader("Authorization", f"Token {self._token}")
        connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
        connection.putheader("Content-Length", str(len(head) + film_bytes + len(tail)))
        connection.endheaders()
        began = time.perf_counter()
        connection.send(head)
        for block in long_film(film_bytes):
            connection.send(block)
        connection.send(tail)
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        answer.read()
        return time.perf_counter() - began

    def measure(self, film_bytes: int) -> str:
        """Upload a film of this size; return its figures."""
        peak_before, written_before = self._peak_bytes(reset=True), self._written_bytes()
        took_s = self.send(film_bytes)
        growth_mib = (self._peak_bytes() - peak_before) / 2**20
        written = {name: count - written_before[name] for name, count in self._written_bytes().items()}
        shown = ", ".join(f"{name} {count >> 20}" for name, count in written.items())
        times = sum(written.values()) / film_bytes
        return f"{took_s:5.1f} s; MiB written: {shown} ({times:.2f} x); the server's memory {growth_mib:+.1f} MiB"

    def _written_bytes(self) -> dict[str, int]:
        return {name: sum(map(_written_bytes, _family(process))) for name, process in self._processes.items()}

    def _peak_bytes(self, reset: bool = False) -> int:
        folder = Path(f"/proc/{self._processes['server'].pid}")
        if reset:
            (folder / "clear_refs").write_text("5")
        lines = (folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def long_film(size: int) -> Iterator[bytes]:
    """Yield a film of exactly `size` bytes: a second of pictures, and a box that players skip."""
    start = film()
    left = size - len(start)
    yield start + (1).to_bytes(4, "big") + b"free" + left.to_bytes(8, "big")
    left -= 16
    block = os.urandom(BLOCK_BYTES)
    while left:
        yield block[:left]
        left -= len(block[:left])


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _written_bytes(process: psutil.Process) -> int:
    lines = Path(f"/proc/{process.pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def main() -> None:
    options = arguments(__doc__)
    with tempfile.TemporaryDirectory(prefix="teleop-", ignore_cleanup_errors=True) as name:
        folder, media = Path(name), Path(name, "media")
        settings = {"DATABASE_URL": f"sqlite:///{folder}/db.sqlite3", "MEDIA_ROOT": str(media), "REDIS_URL": ""}
        settings |= {"TMPDIR": name, "TRUSTED_PROXIES": "127.0.0.1"}
        environment = os.environ | {"SECRET_KEY": "bench"} | settings
        migrate(environment)
        with Server(folder, **settings, SECRET_KEY="bench") as server, Nginx(folder, server, media) as nginx:
            psutil.Process(server.pid).cpu_affinity([SERVER_CORE])
            uploads = Uploads(nginx, server, environment)
            uploads.send(BLOCK_BYTES)  # a first use
            for run in range(options.runs):
                for mib in (2048, 1024):
                    print(f"{run + 1}: {mib} MiB in {uploads.measure(mib * 2**20)}", flush=True)


if __name__ == "__main__":
    main()
