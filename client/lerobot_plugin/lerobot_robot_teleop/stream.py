"""The stream of one robot, as lerobot's loop sees it: it raises nothing, and each frame costs microseconds."""

import logging
from collections import Counter
from typing import Any

from lerobot.robots import Robot
from teleop_client.clock import Clock

from .clients import Clients
from .config import STREAM, StreamConfig
from .episodes import EpisodeListener
from .faults import Faults, never_raises
from .meta_info import image_names
from .session_thread import SessionThread
from .sessions import Sessions

CLOSE_S = 20.0  # for all of the end; the client itself waits for films, at most 10 s while the server answers
IMAGES_WAIT, FRAMES_WAIT = 30, 10_000  # at most so many frames wait for the thread with images, and in all

logger = logging.getLogger(__package__)


class Stream:
    """Pairs each observation with the action that answers it. No method raises, and only `close` waits.

    A thread works on the sessions: in lerobot's loop a frame with two pictures would take 0.4 to 0.6 ms, the first one
    of a session 9 ms, and any frame as long as a slow disk takes. To hand it over takes 0.1 ms.
    """

    def __init__(self, config: StreamConfig) -> None:
        self.faults = Faults()
        self._config = config
        self._listener = EpisodeListener(self)
        self._thread: SessionThread | None = None  # while the robot is connected
        self._image_names: list[str] = []
        self._clock = Clock()
        self._observation: tuple[dict[str, Any], float] | None = None  # without an action yet, and its time
        self._lost: Counter[str] = Counter()

    @never_raises
    def open(self, robot: Robot) -> None:
        """Prepare the sessions of a robot that has been connected. Frames are streamed after this."""
        if self._thread:
            return  # it has been connected again: its session goes on
        try:
            clients = Clients(robot, self._config, self.faults)
        except (ValueError, OSError) as error:
            logger.error("nothing is streamed to the server, and lerobot goes on without it: %s", error)
            return
        self._image_names, self._clock = image_names(robot), Clock()
        self._thread = SessionThread(Sessions(clients, has_reset=self._config.reset == STREAM))
        logging.getLogger().addHandler(self._listener)

    @never_raises
    def close(self) -> None:
        """End the sessions, and wait for the server, at most CLOSE_S. What it does not have then stays on disk."""
        logging.getLogger().removeHandler(self._listener)
        thread, self._thread, self._observation = self._thread, None, None
        try:
            if thread:
                thread.close(CLOSE_S)
        finally:
            self._report_losses()

    def _report_losses(self) -> None:
        for kind, count in self._lost.items():
            logger.warning("%d %s are lost: the disk of this computer was too slow", count, kind)
        if self.faults.counts:
            counts = dict(self.faults.counts)
            logger.warning("the stream to the server had faults, counted by method: %s", counts)
        self._lost.clear()
        self.faults.counts.clear()

    # lerobot's loop

    @never_raises
    def observe(self, observation: dict[str, Any]) -> None:
        """Keep an observation until its action is sent."""
        if self._thread:
            self._observation = dict(observation), self._clock.now_s()

    @never_raises
    def send(self, action: dict[str, Any]) -> None:
        """Send the observation with the action that was sent to the motors. An action without one is no frame.

        Both are copied without their values: a robot may use the same dict again.
        """
        frame, self._observation = self._observation, None
        if self._thread is None or frame is None:
            return
        observation, time_s = frame
        waiting = self._thread.waiting
        if waiting >= FRAMES_WAIT:
            self._lost["frames"] += 1
            return
        if not self._config.cameras:
            self._remove_images(observation)
        elif waiting >= IMAGES_WAIT:
            self._lost["pictures"] += self._remove_images(observation)
        self._thread.call(Sessions.send, observation, dict(action), time_s)

    def _remove_images(self, observation: dict[str, Any]) -> int:
        return sum(observation.pop(name, None) is not None for name in self._image_names)

    # Announcements of lerobot, between two of its loops

    @never_raises
    def begin_episode(self, number: int) -> None:
        if self._thread:
            self._clock = Clock()  # the wall clock may have been set since the last episode
            self._thread.call(Sessions.begin_episode, number)

    @never_raises
    def begin_reset(self) -> None:
        if self._thread:
            self._thread.call(Sessions.begin_reset)

    @never_raises
    def discard_episode(self) -> None:
        if self._thread:
            self._thread.call(Sessions.discard_episode)

    @never_raises
    def stop(self, *, interrupted: bool) -> None:
        if self._thread:
            self._thread.call(Sessions.stop, interrupted=interrupted)
