"""The reports of a worker to the watchers of its robots, and the cases in which it sends none."""

import asyncio

import orjson
import pytest

from teleop.ingest.live_tap import LEASE_S, MAX_TICK_BYTES, TICK_S, RobotSnapshot, Tap
from teleop.tests.fakes import Robot, frame


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Tapped:
    """A tap on the streaming robots `arm`, `leg` and `eye`; `sent` holds the reports that it has sent."""

    def __init__(self):
        self.clock = Clock()
        self.robots = {name: Robot() for name in ("arm", "leg", "eye")}
        for name, robot in self.robots.items():
            robot.connection.robot_id = robot.connection.holder = name
        self.sent = []
        self.tap = Tap({name: robot.connection for name, robot in self.robots.items()}, self.send, self.clock)

    async def send(self, message):
        self.sent.append([RobotSnapshot(*report) for report in message["robots"]])

    def stream(self, *indexes):
        for robot in self.robots.values():
            robot.sends(*indexes)

    def report(self, name="arm") -> RobotSnapshot:
        return next(report for report in self.tap.reports() if report.robot_id == name)

    def state(self, name="arm") -> dict:
        return orjson.loads(b"{%b}" % self.report(name).state)

    def pass_ticks(self, ticks, name="arm", sends=0, first=0) -> list[dict]:
        """Send `sends` frames a tick, commit them at its end, and return the robot's state after each tick."""
        robot, states = self.robots[name], []
        for tick in range(ticks):
            robot.sends(*range(first + tick * sends, first + (tick + 1) * sends))
            self.clock.now += TICK_S
            if sends:
                robot.connection.committed(robot.taken[-1:], 0)
            states.append(self.state(name))
        return states


@pytest.fixture
def tapped():
    return Tapped()


def test_it_ignores_frames_without_watchers(tapped):
    tapped.stream(0, 1)
    assert [robot.connection.watched for robot in tapped.robots.values()] == [None] * 3
    assert (tapped.tap.is_leased(), tapped.tap.reports()) == (False, [])


def test_it_sends_all_frames_of_watched_robots_only(tapped):
    tapped.tap.renew(["arm", "on another worker"], fleet=False)
    tapped.stream(3, 6)
    (report,) = tapped.tap.reports()
    assert (report.robot_id, report.session_id, report.numbered, report.values) == ("arm", 17, 2, b"[]")
    assert [orjson.loads(each) for each in report.frames] == [
        [index, frame(index)["timestamp"], {"observation": {"x.pos": 0.5}}] for index in (3, 6)
    ]


def test_it_sends_the_newest_values_without_frames_for_the_fleet(tapped):
    tapped.tap.renew([], fleet=True)
    tapped.stream(0)
    tapped.robots["leg"].sends_message(**frame(1) | {"observation": {"joint_positions": [1, 2.5, "x", 1e30]}})
    reports = {report.robot_id: report for report in tapped.tap.reports()}
    assert [report.frames for report in reports.values()] == [[], [], []]
    assert (reports["arm"].values, reports["leg"].values) == (b"[0.5]", b"[1,2.5,null,1e+30]")


@pytest.mark.parametrize(
    "data, values",
    [
        ({"observation.state": [1, 2.5], "action": [3]}, b"[1,2.5]"),
        ({"observation.pan.pos": 1.5, "observation.load": 7, "action.pan.pos": 3}, b"[1.5]"),
        ({"action": [3]}, b"[]"),
        ({"observation.state": [-0.123456789, 123456.789, 12]}, b"[-0.1235,123500.0,12]"),
        ({"observation": {"x": 1.5, "mode": "auto", "arm": {"closed": True, "load": 7}, "n": None}}, b"[1.5,null,1]"),
    ],
)
def test_it_sends_the_newest_values_of_rows(tapped, data, values):
    tapped.tap.renew([], fleet=True)
    tapped.robots["leg"].sends_message(frame_index=1, timestamp=1703318400.5, **data)
    assert {report.robot_id: report.values for report in tapped.tap.reports()}["leg"] == values


def test_it_repeats_the_last_values_and_sends_at_most_twelve(tapped):
    tapped.tap.renew([], fleet=True)
    tapped.robots["arm"].sends_message(**frame(0) | {"observation": {f"{number}.pos": number for number in range(20)}})
    for _ in range(2):
        assert tapped.report().values == b"[0,1,2,3,4,5,6,7,8,9,10,11]"


def test_each_frame_is_sent_once(tapped):
    tapped.tap.renew(["arm"], fleet=True)
    tapped.stream(0, 1)
    tapped.report()
    tapped.stream(2)
    report = tapped.report()
    assert ([orjson.loads(each)[0] for each in report.frames], report.numbered) == ([2], 3)
    assert tapped.report().frames == []


def test_a_refused_frame_is_not_sent(tapped):
    tapped.tap.renew(["arm"], fleet=False)
    tapped.robots["arm"].sends(5, 4)
    assert len(tapped.report().frames) == 1


def test_it_limits_the_bytes_per_tick_and_counts_dropped_frames(tapped):
    tapped.tap.renew(["arm"], fleet=False)
    for index in range(100):
        tapped.robots["arm"].sends_message(**frame(index) | {"note": "x" * 10_000})
    report = tapped.report()
    assert MAX_TICK_BYTES - 11_000 < sum(map(len, report.frames)) < MAX_TICK_BYTES + 1_000  # each frame's own brackets
    assert (orjson.loads(report.frames[-1])[0], report.numbered) == (99, 100)


def test_a_lease_expires_if_it_is_not_renewed(tapped):
    tapped.tap.renew(["arm"], fleet=True)
    tapped.clock.now += LEASE_S - 1
    tapped.tap.renew(["leg"], fleet=False)
    tapped.clock.now += 1
    assert tapped.tap.is_leased()
    assert [report.robot_id for report in tapped.tap.reports()] == ["leg"]
    tapped.clock.now += LEASE_S - 1
    assert not tapped.tap.is_leased()
    assert [robot.connection.watched for robot in tapped.robots.values()] == [None] * 3


def test_it_does_not_count_frames_before_a_robot_is_watched(tapped):
    """A page still watches the fleet, so the connection stays watched."""
    tapped.tap.renew([], fleet=True)
    tapped.stream(0, 1, 2)
    tapped.tap.renew(["arm"], fleet=True)
    tapped.stream(3)
    assert tapped.report().numbered == len(tapped.report().frames) + 1 == 1


def test_it_does_not_report_closed_connections(tapped):
    tapped.tap.renew([], fleet=True)
    tapped.robots["arm"].connection.close(4409)
    tapped.robots["leg"].connection.disconnected.set()
    assert [report.robot_id for report in tapped.tap.reports()] == ["eye"]


@pytest.mark.parametrize("frames_a_tick, rate", [(6, 60.0), (0, 0.0), (100, 1000.0)])
def test_the_rate_covers_the_last_two_seconds(tapped, frames_a_tick, rate):
    tapped.tap.renew([], fleet=True)
    tapped.pass_ticks(30, sends=2)
    assert tapped.pass_ticks(31, sends=frames_a_tick, first=60)[-1]["rate_hz"] == pytest.approx(rate, abs=0.1)


def test_the_rate_counts_the_frames_of_batches(tapped):
    """A batch of 20 every fourth tick is 50 a second, at any tick."""
    tapped.tap.renew([], fleet=True)
    rates = []
    for batch in range(12):
        rates += tapped.pass_ticks(1, sends=20, first=batch * 20) + tapped.pass_ticks(3)
    assert {state["rate_hz"] for state in rates[24:]} == {50.0}


def test_the_rate_is_null_in_the_first_half_second(tapped):
    tapped.tap.renew([], fleet=True)
    assert [state["rate_hz"] is None for state in tapped.pass_ticks(7, sends=6)] == [True] * 5 + [False] * 2


def test_the_lag_is_from_receipt_to_commit(tapped):
    tapped.tap.renew([], fleet=True)
    robot = tapped.robots["arm"]
    robot.sends(0)
    tapped.clock.now += 0.03
    robot.sends(1)
    robot.connection.committed(robot.taken, 0)
    assert tapped.state() == {"session_id": 17, "rate_hz": None, "ack_lag_ms": 30.0, "frame_count": 2}


def test_the_lag_grows_while_nothing_is_committed(tapped):
    tapped.tap.renew([], fleet=True)
    tapped.pass_ticks(1, sends=1)
    tapped.robots["arm"].sends(10)
    assert [state["ack_lag_ms"] for state in tapped.pass_ticks(3)] == [100.0, 200.0, 300.0]


def test_a_new_connection_is_watched_from_its_first_frame(tapped):
    tapped.tap.renew(["tail"], fleet=False)
    tail = Robot().connection
    tail.robot_id = "tail"
    tapped.tap.attach(tail)
    assert tail.watched.has_frames


def test_it_queues_frames_while_a_message_is_being_sent(tapped):
    async def scenario():
        frozen = asyncio.Event()

        async def send(message):
            await frozen.wait()
            await tapped.send(message)

        tapped.tap._send = send
        tapped.tap.renew(["arm"], fleet=False)
        for index in range(5):
            tapped.stream(index)
            tapped.tap.tick()
            await asyncio.sleep(0)
        frozen.set()
        await tapped.tap._sending
        tapped.tap.tick()
        await tapped.tap._sending

    asyncio.run(scenario())
    assert [[orjson.loads(each)[0] for each in report.frames] for (report,) in tapped.sent] == [[0], [1, 2, 3, 4]]


def test_it_logs_a_failing_layer_once_and_counts_the_lost_frames(tapped, caplog):
    async def scenario():
        async def fail(message):
            raise ConnectionError("gone")

        tapped.tap._send, send = fail, tapped.tap._send
        tapped.tap.renew(["arm"], fleet=False)
        for index in range(3):
            tapped.stream(index)
            tapped.tap.tick()
            await tapped.tap._sending
        tapped.tap._send = send
        tapped.stream(3)
        tapped.tap.tick()
        await tapped.tap._sending

    asyncio.run(scenario())
    assert caplog.text.count("could not send live frames") == 1
    assert [(len(report.frames), report.numbered) for (report,) in tapped.sent] == [(1, 4)]
