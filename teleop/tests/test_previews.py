"""The requests of a worker to its robots, and the pictures that it passes on: by leases, rates and sizes."""

import asyncio
from itertools import pairwise

import pytest

from robots.close_codes import Close
from teleop.ingest import previews as module
from teleop.ingest.preview_picture import Picture
from teleop.ingest.previews import EARLY_S, GRACE_S, LEASE_S, REPEAT_S, TICK_S, Previews
from teleop.protocol import MAX_PREVIEW_BYTES
from teleop.tests.fakes import Robot, Transport
from tests.preview_socket import jpeg, message

ALL = {"type": "preview", "cameras": None, "interval_s": 0.5, "lease_s": 15}
TILE = ALL | {"interval_s": 2}


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Bench:
    """The previews of a worker with the connected robots `arm` and `leg`; `sent` has the pictures that it passed on."""

    def __init__(self):
        self.clock = Clock()
        self.robots = {name: Robot() for name in ("arm", "leg")}
        for name, robot in self.robots.items():
            robot.connection.robot_id = name
        self.sent: list[tuple] = []
        self.refusals: list[tuple[str, str]] = []
        connections = {name: robot.connection for name, robot in self.robots.items()}
        self.previews = Previews(connections, self.send, self.note_refusal, self.clock)

    async def send(self, message):
        self.sent.append([tuple(picture[:2]) for picture in message["pictures"]])

    def note_refusal(self, robot_id, refusal):
        self.refusals.append((robot_id, refusal.detail))

    def requests(self, name="arm") -> list[dict]:
        answers, self.robots[name].transport.answers = self.robots[name].transport.answers, []
        return answers

    def connect(self, name="arm", key_hash="hash"):
        transport = Transport()
        return self.previews.connect(name, key_hash, transport), transport

    def offers(self, camera="front", robot="arm", size=100) -> bool:
        return self.previews.offer(robot, Picture(camera, 0.0, b"x" * size), 0.0)

    def sweep(self) -> None:
        asyncio.run(self.previews.sweep())


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(module, "TICK_S", 0.0)
    return Bench()


@pytest.fixture
def unsent(bench, monkeypatch):
    """Let pictures stay in the worker: a test without a loop."""
    monkeypatch.setattr(bench.previews, "_sending", asyncio.Future(loop=asyncio.new_event_loop()))
    return bench


def test_it_asks_only_robots_that_users_watch(bench):
    bench.previews.renew(["arm", "on another worker"], [])
    assert (bench.requests("arm"), bench.requests("leg")) == ([ALL], [])


def test_it_asks_again_when_the_lease_is_renewed_but_not_for_each_process(bench):
    for pause_s in (0, 1, 1, REPEAT_S - 2, 1, REPEAT_S - 1):
        bench.clock.now += pause_s
        bench.previews.renew(["arm"], [])
    assert bench.requests() == [ALL] * 3


def test_a_tile_needs_fewer_pictures_than_a_page(bench):
    bench.previews.renew([], ["arm"])
    bench.previews.renew(["arm"], ["arm"])
    bench.clock.now += LEASE_S - 1
    bench.previews.renew([], ["arm"])
    bench.clock.now += 1
    bench.previews.renew([], ["arm"])
    assert bench.requests() == [TILE, ALL, ALL, TILE]


def test_it_asks_for_the_first_of_the_cameras_that_a_tile_could_show(unsent):
    unsent.previews.renew([], ["arm"])
    for camera in ("wrist", "front", "top"):
        unsent.offers(camera)
    unsent.previews.renew([], ["arm"])
    unsent.clock.now += REPEAT_S + 2
    unsent.previews.renew([], ["arm"])  # the cameras have stopped
    assert unsent.requests() == [TILE, TILE | {"cameras": ["front"]}, TILE]


def test_it_asks_a_robot_that_connects_while_a_user_watches(bench):
    robot = Robot()
    robot.connection.robot_id = "new"
    bench.previews.greeted(robot.connection)
    bench.previews.renew(["new"], [])
    bench.previews.greeted(robot.connection)
    bench.clock.now += LEASE_S
    bench.previews.greeted(robot.connection)
    assert robot.transport.answers == [ALL]


def test_it_asks_no_robot_whose_connection_is_closed(bench):
    bench.robots["arm"].connection.close(Close.TAKEN_OVER)
    bench.previews.renew(["arm"], [])
    assert bench.requests() == [Close.TAKEN_OVER]


def test_it_takes_no_picture_that_nobody_wants(unsent):
    assert not unsent.offers()
    unsent.previews.renew(["leg"], [])
    assert not unsent.offers()
    unsent.previews.renew(["arm"], [])
    assert unsent.offers()
    unsent.clock.now += LEASE_S
    unsent.sweep()
    assert not unsent.offers()


def test_it_takes_two_pictures_a_second_of_each_camera(unsent):
    unsent.previews.renew(["arm"], [])
    taken = {"front": 0, "wrist": 0}
    for _ in range(100):
        for camera in taken:
            taken[camera] += unsent.offers(camera)
        unsent.clock.now += 0.1
    assert taken == {"front": 21, "wrist": 21}


def test_a_tile_takes_a_picture_of_one_camera_every_two_seconds(unsent):
    unsent.previews.renew([], ["arm"])
    taken = []
    for tick in range(60):
        taken += [(tick, camera) for camera in ("wrist", "front") if unsent.offers(camera)]
        unsent.clock.now += 0.2
    assert [camera for _, camera in taken[1:]] == ["front"] * (len(taken) - 1)
    assert {later - earlier for (earlier, _), (later, _) in pairwise(taken)} <= {9, 10}


def test_it_takes_pictures_of_eight_cameras(unsent):
    unsent.previews.renew(["arm"], [])
    assert [unsent.offers(f"camera_{number}") for number in range(20)] == [True] * 8 + [False] * 12
    unsent.clock.now += 6
    assert unsent.offers("another")


def test_it_passes_on_the_newest_picture_of_each_camera(bench):
    async def scenario():
        bench.previews.renew(["arm", "leg"], [])
        for robot, camera in (("arm", "front"), ("arm", "front"), ("arm", "wrist"), ("leg", "front")):
            bench.offers(camera, robot)
        await bench.previews._sending
        bench.clock.now += 1
        bench.offers()
        await bench.previews._sending

    asyncio.run(scenario())
    assert bench.sent == [[("arm", "front"), ("arm", "wrist"), ("leg", "front")], [("arm", "front")]]


def test_it_keeps_one_megabyte_while_the_layer_takes_none(unsent):
    names = [f"robot_{number}" for number in range(50)]
    unsent.previews.renew(names, [])
    taken = [unsent.offers(f"camera_{number}", name, 60_000) for name in names for number in range(8)]
    assert sum(taken) == 17
    assert unsent.previews._pending_bytes == 17 * 60_000
    unsent.clock.now += 1
    assert unsent.offers("camera_0", "robot_0", 100), "a newer picture replaces an older one"
    assert unsent.previews._pending_bytes == 16 * 60_000 + 100


def test_it_goes_on_after_the_layer_fails_and_logs_it_once(bench, caplog):
    async def scenario():
        async def fail(message):
            raise ConnectionError("gone")

        bench.previews.renew(["arm"], [])
        bench.previews._send, send = fail, bench.previews._send
        for _ in range(3):
            bench.offers()
            await bench.previews._sending
            bench.clock.now += 1
        bench.previews._send = send
        bench.offers()
        await bench.previews._sending

    asyncio.run(scenario())
    assert caplog.text.count("could not send previews") == 1
    assert bench.sent == [[("arm", "front")]]


def test_a_connection_without_a_lease_is_closed(bench):
    _, transport = bench.connect()
    bench.clock.now += GRACE_S
    bench.sweep()
    bench.previews.renew(["arm"], [])
    bench.clock.now += LEASE_S - 0.1
    bench.sweep()
    assert transport.answers == []
    bench.clock.now += 0.1
    bench.sweep()
    assert transport.closed == [Close.ENDED]


def test_a_connection_that_no_lease_ever_covers_is_closed(bench):
    _, transport = bench.connect()
    bench.clock.now += GRACE_S + 0.1
    bench.sweep()
    assert transport.closed == [Close.ENDED]


def test_it_closes_the_connections_with_a_revoked_key(bench):
    transports = {key: bench.connect(*key)[1] for key in (("arm", "old"), ("arm", "new"), ("leg", "old"))}
    bench.previews.close_matching({"robot_id": "arm", "key_hash": "old"}, Close.KEY_REVOKED)
    assert [transport.closed for transport in transports.values()] == [[Close.KEY_REVOKED], [], []]
    bench.previews.close_matching({"robot_id": "arm", "session_id": 17}, Close.DISCONNECTED)
    bench.previews.close_matching({"robot_id": "arm"}, Close.DISCONNECTED)
    assert [len(transport.closed) for transport in transports.values()] == [1, 1, 0]


def test_it_closes_all_connections_when_the_server_stops(bench):
    _, before = bench.connect()
    bench.previews.close()
    _, after = bench.connect()
    assert before.closed == after.closed == [Close.RESTARTING]


@pytest.mark.parametrize(
    "data, code", [("text", Close.UNUSABLE), (b"x" * (MAX_PREVIEW_BYTES + 1), Close.MESSAGE_TOO_BIG)]
)
def test_an_invalid_message_closes_its_connection_and_is_noted(unsent, data, code):
    unsent.previews.renew(["arm"], [])
    socket, transport = unsent.connect()
    wasted = [socket.receive(each) for each in (message(), data, message())]
    assert (transport.answers, wasted[0], min(wasted[1:]) > 0) == ([code], 0, True)
    assert [robot_id for robot_id, _ in unsent.refusals] == ["arm"]
    assert f"closed with {code:d}" in unsent.refusals[0][1]


def test_a_picture_above_the_rate_counts_as_waste(unsent):
    unsent.previews.renew(["arm"], [])
    socket, _ = unsent.connect()
    assert [socket.receive(message()) > 0 for _ in range(4)] == [False, False, True, True]


def test_it_measures_how_late_a_picture_is_whatever_the_robots_clock_says(unsent):
    unsent.previews.renew(["arm"], [])
    socket, _ = unsent.connect()
    late = []
    for took_s in (0.3, 0.1, 4.1, 0.2):
        unsent.clock.now += 1
        captured_at = 86_400.0 + unsent.clock.now - took_s  # the robot's clock is a day ahead
        socket.receive(message(captured_at=captured_at))
        late.append(unsent.previews._pending["arm", "front"][0])
    assert late == pytest.approx([0, 0, 4, 0.1])


def test_pictures_that_come_a_little_early_are_taken(unsent):
    unsent.previews.renew([], ["arm"])
    assert unsent.offers()
    unsent.clock.now += 2 - EARLY_S / 2
    assert unsent.offers()


def test_the_pictures_of_a_tick_are_one_message(bench, monkeypatch):
    monkeypatch.setattr(module, "TICK_S", TICK_S)

    async def scenario():
        bench.previews.renew(["arm"], [])
        for number in range(5):
            bench.offers(f"camera_{number}")
            await asyncio.sleep(0)
        await bench.previews._sending

    asyncio.run(scenario())
    assert [len(pictures) for pictures in bench.sent] == [5]
    assert len(jpeg()) < MAX_PREVIEW_BYTES
