"""The checks of one version of LeRobot. Each runs LeRobot's programs, and yields a sentence for each difference."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from loadtest.run.processes import free_port
from tests.lerobot_check import compare
from tests.lerobot_check.environment import Environment, Program
from tests.lerobot_check.recording import FPS, JOINTS, TASK, Episode, Recorder, Turn
from tests.lerobot_check.stored import Session, new_robot, sessions_of, wait_for_end
from tests.services import Server

STREAMED = "mock_arm_stream"
EPISODE_S, RESET_S = 3.0, 1.0
RERECORD_AT = 150  # the turn in which the user presses the key: in the second episode, which begins after 120 turns
PHASE_TURNS = 4  # lerobot may begin a phase so many turns earlier or later than its seconds say
OUTAGE_EPISODE_S, TURNS_AT_KILL, TURNS_AT_RESTART = 9.0, 60, 150
TELEOPERATE_FPS = 60
SIDECAR_MISSES = 10  # turns, while the sidecar subscribes to topics that have just appeared
LIST_TYPES = """
from lerobot.scripts.lerobot_record import RobotConfig, register_third_party_plugins
register_third_party_plugins()
print(*RobotConfig.get_known_choices())
"""


class Bench(NamedTuple):
    """A version of LeRobot, and a server."""

    environment: Environment
    server: Server

    def new_robot(self, name: str) -> tuple[str, str]:
        """Return the id and the key of a robot."""
        robot = f"{name}-{self.environment.lerobot}"
        return robot, new_robot(robot)

    def stream(self, robot: str) -> list[str]:
        return [f"--robot.stream.url={self.server.url}", f"--robot.stream.robot_id={robot}"]


def episodes(bench: Bench) -> Iterator[str]:
    """Record two episodes with a reset phase, and the second one again; push the dataset too."""
    robot, key = bench.new_robot("episodes")
    recorder = Recorder(bench.environment, "episodes")
    options = [*recorder.devices(STREAMED), *bench.stream(robot), *recorder.options(2, EPISODE_S, RESET_S)]
    output = bench.environment.run(
        "record-episodes", "lerobot-record", *options, f"--teleop.rerecord_at={RERECORD_AT}", TELEOP_KEY=key
    )
    recorded = recorder.episodes()
    yield from _compare_episodes(sessions_of(robot), recorder.turns(), recorded)
    if key in output:
        yield "lerobot's log shows the key"
    yield from _push(bench, recorder, recorded)


def _compare_episodes(sessions: list[Session], turns: list[Turn], recorded: list[Episode]) -> Iterator[str]:
    first, second = recorded
    if len(sessions) != 3:
        yield f"sessions with the turns {[compare.spans(each.numbers) for each in sessions]}; 3 sessions expected"
        return
    discarded = range(sessions[1].numbers[0], RERECORD_AT + 1)
    for session, numbers in zip(sessions, (first.numbers, discarded, second.numbers), strict=True):
        yield from compare.same_turns(session, [turns[number] for number in numbers])
        yield from compare.is_complete(session)
        yield from _is_described(session)
        yield from compare.described(session, units="degrees")
        if not session.meta_info.get("calibration_sha256"):
            yield "meta_info has no calibration_sha256"
    for before, after in pairwise((first.numbers, discarded, second.numbers)):
        if abs(after[0] - before[-1] - 1 - RESET_S * FPS) > PHASE_TURNS:
            yield f"a reset phase of {after[0] - before[-1] - 1} turns"
    for session, episode in ((sessions[0], first), (sessions[2], second)):
        yield from compare.same_episode(session, episode, compare.actions_done(episode, turns))
        yield from compare.described(session, success=None, tags=None)
    yield from compare.described(sessions[1], success=False, tags=["re-recorded"])
    if all(turn.action == turn.done for turn in turns):
        yield "the arm has clipped no action, so nothing shows which one is streamed"


def _is_described(session: Session) -> Iterator[str]:
    names = {"observation": list(JOINTS), "action": list(JOINTS)}
    yield from compare.described(session, task=TASK, robot_type="mock_arm", joint_names=names)
    if session.fps != FPS:
        yield f"the session has {session.fps} fps; {FPS} expected"


def _push(bench: Bench, recorder: Recorder, recorded: list[Episode]) -> Iterator[str]:
    """Push the dataset twice, with LeRobot's Python."""
    robot, key = bench.new_robot("pushed")
    command = ["teleop", "push", str(recorder.dataset), "--robot", robot, "--url", bench.server.url]
    for name in ("push", "push-again"):
        bench.environment.run(name, *command, TELEOP_KEY=key)
    sessions = sessions_of(robot)
    if len(sessions) != len(recorded):
        yield f"{len(sessions)} pushed sessions; {len(recorded)} expected"
    for session, episode in zip(sessions, recorded, strict=False):
        yield from compare.same_episode(session, episode, episode.action)
        yield from compare.is_complete(session)
        yield from _is_described(session)


def outage(bench: Bench) -> Iterator[str]:
    """Kill the server during an episode, and start it again; compare the loop with that of the plain robot."""
    plain = Recorder(bench.environment, "plain")
    bench.environment.run("record-plain", "lerobot-record", *plain.devices(), *plain.options(1, EPISODE_S))
    robot, key = bench.new_robot("outage")
    recorder = Recorder(bench.environment, "outage")
    options = [*recorder.devices(STREAMED), *bench.stream(robot), *recorder.options(1, OUTAGE_EPISODE_S)]
    with bench.environment.started("record-outage", "lerobot-record", *options, TELEOP_KEY=key) as program:
        _kill_and_restart(bench.server, recorder, program)
        program.wait()
    turns, (session, *more) = recorder.turns(), sessions_of(robot)
    (episode,) = recorder.episodes()
    if more:
        yield f"{1 + len(more)} sessions; 1 expected"
    yield from compare.same_turns(session, turns)
    yield from compare.is_complete(session)
    yield from compare.same_episode(session, episode, compare.actions_done(episode, turns))
    yield from compare.holds_its_rate(turns[TURNS_AT_KILL:], plain.turns())
    yield from _nothing_waits(bench.environment)


def _nothing_waits(environment: Environment) -> Iterator[str]:
    """Check that the robot's disk has neither frames nor films that the server has not."""
    waiting = [path for path in environment.spools.rglob("*") if path.suffix in (".mp4", ".spool")]
    if waiting:
        yield f"these files still wait in the spool: {[str(path.relative_to(environment.spools)) for path in waiting]}"


def _kill_and_restart(server: Server, recorder: Recorder, program: Program) -> None:
    """Kill the server in the middle of an episode, and start it some turns later."""
    program.wait_until(lambda: recorder.turn_count() >= TURNS_AT_KILL, "the first turns")
    server.kill()
    program.wait_until(lambda: recorder.turn_count() >= TURNS_AT_RESTART, "the turns without a server")
    server.start()


def teleoperate(bench: Bench) -> Iterator[str]:
    """Run lerobot-teleoperate: its run is one session."""
    robot, key = bench.new_robot("teleoperate")
    recorder = Recorder(bench.environment, "teleoperate")
    options = [*recorder.devices(STREAMED), *bench.stream(robot), f"--fps={TELEOPERATE_FPS}", "--teleop_time_s=3"]
    bench.environment.run("teleoperate", "lerobot-teleoperate", *options, TELEOP_KEY=key)
    session, *more = sessions_of(robot)
    if more or session.fps != TELEOPERATE_FPS:
        yield f"{1 + len(more)} sessions, {session.fps} fps; 1 session with {TELEOPERATE_FPS} fps expected"
    yield from compare.same_turns(session, recorder.turns())
    yield from compare.is_complete(session)


def sidecar(bench: Bench) -> Iterator[str]:
    """Record the plain robot from lerobot's Foxglove server; the actions are those before the arm clips them."""
    robot, key = bench.new_robot("sidecar")
    recorder = Recorder(bench.environment, "sidecar")
    port = str(free_port())
    command = ["teleop-sidecar", "--foxglove", port, "--robot", robot, "--url", bench.server.url, "--fps", str(FPS)]
    display = ["--display_data=true", "--display_mode=foxglove", f"--display_port={port}"]
    options = [*recorder.devices(), *recorder.options(1, EPISODE_S), *display]
    with bench.environment.started("sidecar", *command, TELEOP_KEY=key) as program:
        bench.environment.run("record-sidecar", "lerobot-record", *options)
        wait_for_end(robot)
        program.terminate()  # it has uploaded the films when it ends
    (session,) = sessions_of(robot)
    (episode,) = recorder.episodes()
    missed = len(episode.numbers) - len(session.frames)
    print(f"  the first {missed} turns are missed: lerobot's topics appear with their first message")
    if missed > SIDECAR_MISSES:
        yield f"{missed} of {len(episode.numbers)} turns are missing"
    seen = episode.since(missed)
    yield from compare.same_episode(session, seen, seen.action)
    yield from compare.is_complete(session)


def types(bench: Bench) -> Iterator[str]:
    """Ask for a streamed type of each robot that this lerobot knows, and start lerobot with a real one."""
    names = bench.environment.run("types", "python", "-c", LIST_TYPES).splitlines()[-1].split()
    plain = [name for name in names if not name.endswith("_stream")]
    print(f"  {len(plain)} types of robots")
    if missing := [name for name in plain if f"{name}_stream" not in names]:
        yield f"these types have no streamed one: {missing}"
    arm = ["--robot.type=so101_follower_stream", "--robot.id=one", "--robot.port=/dev/null", *bench.stream("nobody")]
    output, code = bench.environment.fail("so101", "lerobot-teleoperate", *arm, "--teleop.type=mock_leader")
    sentence = "Could not connect on port '/dev/null'"
    if sentence not in output:
        yield f"so101_follower_stream: exit code {code}, and not {sentence!r}, as no arm is there"


def without_key(bench: Bench) -> Iterator[str]:
    """Record without a key: lerobot goes on, and the user reads why nothing is streamed."""
    recorder = Recorder(bench.environment, "without-key")
    options = [*recorder.devices(STREAMED), *bench.stream("nobody"), *recorder.options(1, 1)]
    output = bench.environment.run("record-without-key", "lerobot-record", *options)
    if "TELEOP_KEY" not in output or recorder.info()["total_episodes"] != 1:
        yield f"{recorder.info()['total_episodes']} episodes, and no sentence that names TELEOP_KEY"


def broken(bench: Bench) -> Iterator[str]:
    """Start lerobot beside a client that cannot be imported: the user reads why the type is missing."""
    folder = bench.environment.folder / "broken"
    folder.mkdir()
    (folder / "teleop_client.py").write_text('raise ImportError("this client is broken")')
    recorder = Recorder(bench.environment, "broken")
    options = [*recorder.devices(STREAMED), *bench.stream("nobody"), *recorder.options(1, 1)]
    path = bench.environment.python_path(folder)
    output, code = bench.environment.fail("record-broken", "lerobot-record", *options, PYTHONPATH=path)
    sentence = "lerobot_robot_teleop: the robot types with _stream are not available: ImportError: this client"
    if sentence not in output or code == 0:
        yield f"exit code {code}, without the sentence {sentence!r}"


ALL = (types, episodes, outage, teleoperate, without_key, broken)
CHECKS = {"0.4.4": ALL, "0.6.1": (*ALL, sidecar)}  # lerobot has a Foxglove server since 0.6
