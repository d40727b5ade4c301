"""Films of a client with a spool: those that a dead process has left, and a disk that takes no more."""

import asyncio
import shutil

import pytest
from fake_server import FakeServer, until
from film_fixtures import make_film, picture
from teleop_client import agent
from teleop_client.camera import film_upload
from teleop_client.camera.film_request import Answer
from teleop_client.drain import Outcome
from teleop_client.errors import FilmError
from test_client_sockets import SESSION, on_loop
from test_client_spool import AWAY, client, offline


class Requests:
    """Stand for FilmRequest: note the options of each, and give this answer."""

    def __init__(self, monkeypatch, status=201, code=None):
        self.options, self._answer = [], Answer(status, "", code, None)
        monkeypatch.setattr(film_upload, "FilmRequest", self)

    def __call__(self, url, **options):
        self.options.append(options)
        return self

    def post(self, *_):
        return self._answer


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """Return a folder with a film of a camera."""
    return make_film(tmp_path_factory.mktemp("ready") / "front" / "000001").parent


@pytest.fixture
def left(spool_dir, ready):
    """Return the folder of films in the spool of a process that has died."""
    asyncio.run(offline(1))
    films = spool_dir / "robot_A" / SESSION / "films"
    shutil.copytree(ready, films / "front")
    return films


@on_loop
async def test_a_client_uploads_the_films_of_a_dead_process_at_its_rate(left, monkeypatch):
    requests = Requests(monkeypatch)
    async with FakeServer() as server, client(server.url, session="another-session", upload_kbit_s=64):
        await until(lambda: not left.exists())
    assert [options["kbit_s"] for options in requests.options] == [64]


def test_the_agent_uploads_films_at_the_rate_of_its_option(left, spool_dir, monkeypatch):
    requests = Requests(monkeypatch)

    async def run():
        async with FakeServer() as server:
            command = ["--spool-dir", str(spool_dir), "drain", "--url", server.url, "--upload-kbit-s", "64"]
            return await asyncio.to_thread(agent.main, command)

    assert asyncio.run(run()) == 0
    assert [options["kbit_s"] for options in requests.options] == [64]


@on_loop
async def test_the_films_of_a_disabled_robot_wait(left, spool_dir, monkeypatch, caplog):
    requests = Requests(monkeypatch, 403, "robot_disabled")
    async with FakeServer() as server:
        draining = agent.Agent(spool_dir, agent.Keys(None), server.url)
        assert await draining.drain() == {Outcome.DISABLED: 1}
        assert await draining.drain() == {}
    assert len(requests.options) == 1
    assert "its films wait" in caplog.text
    assert left.exists()


@on_loop
async def test_a_camera_names_the_free_disk_and_the_bound_if_the_disk_is_almost_full(monkeypatch):
    errors = []
    monkeypatch.setattr("teleop_client.system.free_bytes", lambda path: 5000)
    robot = client(AWAY, on_error=errors.append, max_spool_bytes=1 << 20, min_free_bytes=6000).start()
    robot.camera("front").write(picture())
    await until(lambda: any(isinstance(error, FilmError) for error in errors))
    await robot.close()
    bound = "the disk is almost full: 5,000 bytes are free, and min_free_bytes is 6,000"
    assert f"camera front: pictures are dropped: {bound}" in map(str, errors)
