"""The stream of one robot: a session for each episode of lerobot, or one for a run without episodes."""

import contextlib
import functools
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from lerobot.robots import Robot
from teleop_client import RobotClient, TeleopError
from teleop_client.camera.cameras import is_available
from teleop_client.clock import Clock
from teleop_client.drain import spools
from teleop_client.keys import read_key
from teleop_client.spool.session_spool import default_folder

from .config import STREAM, StreamConfig
from .episodes import EpisodeListener
from .meta_info import describe, fps_of_run, image_names
from .sender import Sender

END_S = 5.0  # for the last frames, when the robot disconnects
CLOSE_S = 20.0  # for all of the end; the client itself waits for films, at most 10 s while the server answers

IMAGES_WAIT, FRAMES_WAIT = 30, 10_000  # at most so many frames wait for the thread with images, and in all

logger = logging.getLogger(__package__)

P = ParamSpec("P")


def never_raises(method: Callable[Concatenate["Stream", P], None]) -> Callable[Concatenate["Stream", P], None]:
    """Report an exception of a method in place of raising it: lerobot's loop must go on."""

    @functools.wraps(method)
    def guarded(self: "Stream", *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:
            self.report_fault(method.__name__)

    return guarded


class Stream:
    """Sends each observation with the action that answers it. No method raises, and none waits except `close`.

    A robot does not know episodes: `EpisodeListener` calls the methods for them. All work is done by a thread, in the
    order of the calls: a frame takes 0.2 to 0.4 ms, and a slow disk may take long, which the loop must not wait for.
    """

    def __init__(self, config: StreamConfig) -> None:
        self._config = config
        self._faults: Counter[str] = Counter()  # by method
        self._listener = EpisodeListener(self)
        self._reset()

    def _reset(self) -> None:
        self._is_open = False
        self._sender: Sender | None = None  # of the episodes, or of the whole run
        self._reset_sender: Sender | None = None  # of the present reset phase
        self._target: Sender | None = None  # the one of the two that gets the frames
        self._begins_by_itself = False  # with the first frame; episodes begin when they are announced
        self._labels: dict[str, Any] = {}  # of the present episode, for its end
        self._observation: dict[str, Any] | None = None
        self._observed_s = 0.0
        self._endings: list[threading.Thread] = []
        self._lost: Counter[str] = Counter()
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @never_raises
    def open(self, robot: Robot) -> None:
        """Prepare the sessions of a robot that has been connected. Frames are streamed after this."""
        self._reset()
        try:
            self._prepare(robot)
        except (ValueError, OSError) as error:
            logger.error("nothing is streamed to the server, and lerobot goes on without it: %s", error)
            return
        self._is_open = self._begins_by_itself = True
        self._thread = threading.Thread(target=self._run, args=(self._calls,), name="teleop stream", daemon=True)
        self._thread.start()
        logging.getLogger().addHandler(self._listener)

    def _prepare(self, robot: Robot) -> None:
        """Find wrong flags. Raises ValueError or OSError."""
        robot_id = self._config.robot_id
        self._key = read_key(robot_id, self._config.key_file)
        if not self._key:
            raise ValueError(f"there is no key of {robot_id}: set TELEOP_KEY, or give --robot.stream.key_file")
        self._meta_info, self._fps = describe(robot, self._config), fps_of_run(self._config)
        self._images = image_names(robot)
        self._clock = Clock()
        self._new_client({})
        if self._config.cameras and self._images and is_available():
            import_module("teleop_client.camera.film_recorder")  # half a second: now, and not in lerobot's loop

    def _new_client(self, meta_info: dict[str, Any]) -> RobotClient:
        """Return a client that is not started. Raises ValueError."""
        config = self._config
        return RobotClient(
            config.url,
            config.robot_id,
            self._key,
            fps=self._fps,
            meta_info=self._meta_info | meta_info,
            spool_dir=config.spool_dir or "",
            cameras=config.cameras,
            upload_kbit_s=config.upload_kbit_s,
        )

    # lerobot's loop

    @never_raises
    def observe(self, observation: dict[str, Any]) -> None:
        """Keep an observation until its action is sent. Its images are not copied."""
        if self._is_open:
            self._observed_s, self._observation = self._clock.now_s(), dict(observation)

    @never_raises
    def send(self, action: dict[str, Any]) -> None:
        """Send the observation with the action that was sent to the motors. An action without one is no frame."""
        observation, self._observation = self._observation, None
        if observation is None:
            return
        waiting = self._calls.qsize()
        if waiting >= FRAMES_WAIT:
            self._lost["frames"] += 1
            return
        if waiting >= IMAGES_WAIT:
            self._lost["pictures"] += sum(observation.pop(name, None) is not None for name in self._images)
        self._calls.put(functools.partial(self._send, observation, action, self._observed_s))

    # Announcements of lerobot

    def begin_episode(self, number: int) -> None:
        self._calls.put(functools.partial(self._begin_episode, number))

    def begin_reset(self) -> None:
        self._calls.put(self._begin_reset)

    def discard_episode(self) -> None:
        self._calls.put(self._discard_episode)

    def stop(self, *, interrupted: bool) -> None:
        self._calls.put(functools.partial(self._stop, interrupted=interrupted))

    # The thread

    @staticmethod
    def _run(calls: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
        for call in iter(calls.get, None):
            call()

    @never_raises
    def _send(self, observation: dict[str, Any], action: dict[str, Any], time_s: float) -> None:
        if self._begins_by_itself:
            self._begin({})
        if self._target is not None:
            self._target.send(observation, action, time_s)

    @never_raises
    def _begin_episode(self, number: int) -> None:
        self._end_reset()
        self._begin({"episode": number})

    def _begin(self, meta_info: dict[str, Any]) -> None:
        """Begin a session, and end the one before with its labels."""
        self._target, self._begins_by_itself = None, False
        labels, self._labels, self._clock = self._labels, {}, Clock()
        if self._sender is None:
            self._sender = self._new_sender(meta_info)
        else:
            self._sender.client.new_session(self._meta_info | meta_info, labels)
        self._target = self._sender

    def _new_sender(self, meta_info: dict[str, Any]) -> Sender:
        return Sender(self._new_client(meta_info).start(), self._images, has_films=self._config.cameras)

    @never_raises
    def _begin_reset(self) -> None:
        """Send no more frames to the episode. Its session is open until lerobot says whether it is recorded again."""
        self._target = None
        if self._config.reset == STREAM:
            self._target = self._reset_sender = self._new_sender({"phase": "reset"})

    @never_raises
    def _discard_episode(self) -> None:
        self._labels = {"success": False, "tags": ["re-recorded"]}

    @never_raises
    def _stop(self, *, interrupted: bool = False) -> None:
        """End the session, in the background: lerobot may encode its own films before it disconnects the robot."""
        if interrupted:
            self._labels = {"tags": ["interrupted"]}
        self._end_reset()
        sender, self._sender, self._target, self._begins_by_itself = self._sender, None, None, False
        if sender:
            self._end(sender, self._labels)

    def _end_reset(self) -> None:
        sender, self._reset_sender = self._reset_sender, None
        if sender:
            self._end(sender, {})

    def _end(self, sender: Sender, labels: dict[str, Any]) -> None:
        ending = threading.Thread(target=self._end_client, args=(sender, labels), name="teleop end", daemon=True)
        ending.start()
        self._endings.append(ending)

    @never_raises
    def _end_client(self, sender: Sender, labels: dict[str, Any]) -> None:
        try:
            with contextlib.suppress(TeleopError):  # the client has logged it, and keeps on disk what is not sent
                sender.client.end(END_S, labels)
        finally:
            sender.client.close()
        for sentence in sender.losses(self._spools()):
            logger.warning(sentence)

    @never_raises
    def close(self) -> None:
        """End the session, and wait for the server, at most CLOSE_S. The rest stays on disk."""
        logging.getLogger().removeHandler(self._listener)
        until_s = time.monotonic() + CLOSE_S
        self._calls.put(self._stop)
        self._calls.put(None)
        if self._thread:
            self._thread.join(CLOSE_S)
        for ending in self._endings:
            ending.join(max(0.0, until_s - time.monotonic()))
        if self._endings:
            self._report_rest()
        for kind, count in self._lost.items():
            logger.warning("%d %s are lost: the disk of this computer was too slow", count, kind)
        if self._faults:
            logger.warning("the stream to the server had faults, counted by method: %s", dict(self._faults))
        self._reset()

    def _report_rest(self) -> None:
        if spools(self._spools()):
            logger.warning(
                "the server does not have everything yet: the rest is in %s, and the next run or `teleop-agent drain` "
                "sends it",
                self._spools(),
            )
        else:
            logger.info("the server has everything that could be sent")

    def _spools(self) -> Path:
        """Return the folder where the sessions of this robot wait for the server."""
        return (self._config.spool_dir or default_folder()) / self._config.robot_id

    def report_fault(self, method: str) -> None:
        """Count the present exception, and log the first of each method."""
        self._faults[method] += 1
        if self._faults[method] == 1:
            with contextlib.suppress(Exception):  # of a handler of the log
                logger.exception("the stream to the server has a fault in %s; lerobot goes on", method)
