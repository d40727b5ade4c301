"""Clients that upload films at once while the server is killed, and the check of what it answered to them."""

import hashlib
import os
import random
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Self

import psycopg
import requests

from tests.robot_socket import frame, robot_socket
from tests.services import ROOT, Server, wait_until
from videos.tests.video_files import film

START = 1767600000.0
MAX_PADDING_BYTES = 2 * 2**20  # a kill may come while a film is received, written, synced or stored
VIDEOS = "SELECT id, file_path, size, sha256 FROM videos_videochunk"


class Uploaders:
    """Clients of one camera each. Each repeats a film until the server answers 200 or 201, and then sends the next."""

    def __init__(self, server: Server, media: Path, count: int = 6) -> None:
        self.answered: dict[int, str] = {}  # id of the chunk: SHA-256 of the film that was sent
        self.refused: list[str] = []
        self.lost_answers = 0
        self._server, self._media = server, media
        self._stopping = Event()
        self._clients = [Thread(target=self._upload, args=[f"camera_{number}"]) for number in range(count)]

    def __enter__(self) -> Self:
        with robot_socket(self._server, "arm?session=many-films", key=None) as robot:
            robot.send(frame(0), {"type": "end"})
            robot.receive("ended")
        [self._session] = requests.get(f"{self._server.url}/sessions", timeout=10).json()["results"]
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop after the films that are on their way; the server is running."""
        self._stopping.set()
        for client in self._clients:
            client.join()

    def wait_until_more_are_stored(self) -> None:
        before = len(self.answered)
        wait_until(lambda: len(self.answered) >= before + len(self._clients), what="more films are stored")

    def _upload(self, camera: str) -> None:
        number = 0
        while not self._stopping.is_set():
            times = {"start_timestamp": START + number, "end_timestamp": START + number + 1}
            self._repeat({"session": self._session["id"], "camera_key": camera, **times}, unique_film())
            number += 1

    def _repeat(self, fields: dict, content: bytes) -> None:
        while True:
            try:
                answer = requests.post(
                    f"{self._server.url}/videos", fields, files={"file": ("film.mp4", content)}, timeout=30
                )
            except requests.RequestException:  # killed, or not started again yet
                self.lost_answers += 1
                time.sleep(0.05)
                continue
            if answer.status_code in (200, 201):
                self.answered[answer.json()["id"]] = hashlib.sha256(content).hexdigest()
            elif answer.status_code != 503:
                self.refused.append(f"{answer.status_code} {answer.text}")
            if answer.status_code != 503:
                return

    def faults(self, database_url: str) -> list[str]:
        """Return the differences between the answers, the rows and the files, a line each."""
        rows = {number: rest for number, *rest in videos_in(database_url)}
        return [
            *(f"refused: {answer}" for answer in self.refused),
            *(f"video {number} was answered and has no row" for number in self.answered.keys() - rows.keys()),
            *(fault for number, row in rows.items() for fault in self._faults_of(number, *row)),
        ]

    def _faults_of(self, number: int, name: str, size: int, sha256: str) -> Iterator[str]:
        file = self._media / name
        if not file.exists():
            yield f"video {number} has no file"
            return
        content = file.read_bytes()
        if (len(content), hashlib.sha256(content).hexdigest()) != (size, sha256):
            yield f"video {number} has a file of {len(content)} bytes that is not the one of its row"
        if self.answered.get(number, sha256) != sha256:
            yield f"video {number} is not the film that was sent"

    def remains(self, database_url: str) -> set[str]:
        """Return the names of the files that belong to no row."""
        stems = {name.removesuffix(".mp4") for _, name, _, _ in videos_in(database_url)}
        names = {str(path.relative_to(self._media)) for path in self._media.rglob("*") if path.is_file()}
        ours = {name for stem in stems for name in (f"{stem}.mp4", f"{stem}.poster.jpg", f"{stem}.proxy.mp4")}
        return names - ours

    def clean(self, database_url: str) -> None:
        """Delete the remains as an operator does a day later."""
        for path in self._media.rglob("*"):
            os.utime(path, (0, 0))
        environment = os.environ | {"DATABASE_URL": database_url, "MEDIA_ROOT": str(self._media)}
        command = [sys.executable, "manage.py", "clean_media", "--delete"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=60)


def unique_film() -> bytes:
    """Return a film of a second with a part that players skip, of random length and content."""
    padding = uuid.uuid4().bytes + bytes(random.randrange(MAX_PADDING_BYTES))
    return film() + (len(padding) + 8).to_bytes(4, "big") + b"free" + padding


def videos_in(database_url: str) -> list[tuple[int, str, int, str]]:
    """Read the database directly, without the product's code."""
    if database_url.startswith("sqlite:///"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=20)) as database:
            return database.execute(VIDEOS).fetchall()
    with psycopg.connect(database_url) as database:
        return database.execute(VIDEOS).fetchall()


def kill_during_uploads(uploaders: Uploaders, server: Server, times: int) -> None:
    for _ in range(times):
        uploaders.wait_until_more_are_stored()
        time.sleep(random.random() / 2)  # a random moment, not a wait for a condition
        server.kill()
        server.start()


def all_are_stored(uploaders: Uploaders, server: Server, database_url: str) -> None:
    """Stop, and compare the answers with the rows and the files; then clean_media deletes the remains."""
    uploaders.wait_until_more_are_stored()
    uploaders.stop()
    server.stop()
    faults = uploaders.faults(database_url)
    assert not faults, "\n".join(faults[:20])
    uploaders.clean(database_url)
    assert not uploaders.remains(database_url)
