"""Make one run of lerobot one session of the robot: pair observations with actions, and record the pictures."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from statistics import median

from .. import system
from ..aio import AsyncRobotClient
from ..errors import TeleopError
from .foxglove import Channel, Handler
from .picture_topic import Decoder, ImageReader, PictureTopic
from .scalars import scalars
from .steady_times import SteadyTimes

logger = logging.getLogger("teleop_client")

OBSERVATION, ACTION, IMAGES = "/observation/state", "/action/state", "/observation/images/"
END_S = 30.0  # for the frames and films that are left when lerobot ends
SUMMARY = "{frames} frames, {pictures} pictures, {incomplete} incomplete frames, {unreadable} unreadable messages"
MANY_INCOMPLETE = 10  # one or two are normal, when lerobot opens its topics
MEASURED_TICKS = 100
# A burst of pictures, after this process could not run, waits for the cameras. lerobot keeps the messages meanwhile.
CATCH_UP_S, CATCH_UP_POLL_S, MAX_LATE_S = 0.1, 0.002, 1.0
RATE_DIFFERS = 0.2  # of the rate that the user gave

Scalars = dict[str, float | None]


class Run:
    """One run of lerobot. Its session begins with its first topic.

    `images` is the module that reads pictures; with None they are not subscribed. Tests pass the clock.
    """

    def __init__(
        self,
        new_client: Callable[[], AsyncRobotClient],
        fps: int,
        images: ImageReader | None,
        elapsed_s: Callable[[], float] = system.elapsed_s,
    ) -> None:
        self.counts = Counter(frames=0, pictures=0, incomplete=0, unreadable=0)
        self._new_client, self._fps, self._reader = new_client, fps, images
        self._client: AsyncRobotClient | None = None
        self._topics: set[str] = set()
        self._times = SteadyTimes(self._report_step, elapsed_s)
        self._tick: dict[str, Scalars] = {}  # by topic
        self._tick_ns: int | None = None  # log time
        self._tick_s = 0.0
        self._periods_s: list[float] = []  # of the first ticks
        self._pictures: dict[str, PictureTopic] = {}  # by topic
        self._warned: set[str] = set()  # the subjects of the warnings so far

    # The topics

    def handler(self, channel: Channel) -> Handler | None:
        """Return the function that takes the messages of a topic, or None if it is not recorded.

        The session and the camera begin here, before the topic is subscribed: they take longer than two pictures.
        """
        handler = self._find_handler(channel)
        if handler:
            self._begin()
            self._topics.add(channel.topic)
        return handler

    def _find_handler(self, channel: Channel) -> Handler | None:
        if channel.topic in (OBSERVATION, ACTION):
            if channel.encoding == "json":
                return partial(self._on_scalars, channel.topic)
            self._warn_of(channel, "json")
        elif channel.topic.startswith(IMAGES) and self._reader:
            decode = self._reader.DECODERS.get(channel.schema_name)
            if decode and channel.encoding == "protobuf":
                return self._begin_pictures(channel.topic, decode, self._reader)
            self._warn_of(channel, f"protobuf of {' or '.join(self._reader.DECODERS)}")
        return None

    def _begin_pictures(self, topic: str, decode: Decoder, reader: ImageReader) -> Handler | None:
        try:
            camera = self._begin().camera(topic.removeprefix(IMAGES))
        except (ValueError, TeleopError) as error:  # the name, or the client has no spool
            self._warn(topic, f"the topic {topic[:80]} is left out: {error}")
            return None
        pictures = self._pictures[topic] = PictureTopic(camera, decode, reader.is_repeated)
        return partial(self._on_picture, topic, pictures)

    def _warn_of(self, channel: Channel, expected: str) -> None:
        form = f"{channel.encoding[:40]} of {channel.schema_name[:40]}"
        self._warn(channel.topic, f"the topic {channel.topic[:80]} is {form}; {expected} expected: it is left out")

    def remove(self, topic: str) -> None:
        """Expect no more messages of a topic."""
        self._topics.discard(topic)
        self._pictures.pop(topic, None)

    def leave_out_pictures(self) -> None:
        """Subscribe to no pictures from the next connection on."""
        self._reader = None

    # The messages

    def _on_scalars(self, topic: str, log_time_ns: int, payload: memoryview) -> None:
        try:
            values = scalars(payload)
        except ValueError as error:
            self._unreadable(topic, error)
            return
        if log_time_ns != self._tick_ns:
            self._finish_tick()
            time_s = self._times.unix_s(log_time_ns)
            self._measure(time_s - self._tick_s if self._tick_ns is not None else None)
            self._tick_ns, self._tick_s = log_time_ns, time_s
        self._tick[topic] = values
        if len(self._tick) == 2:
            self._finish_tick()

    def _finish_tick(self) -> None:
        """Send the frame of a tick of lerobot's loop. Without /action/state a robot has no action."""
        tick, self._tick = self._tick, {}
        if not tick:
            return
        if OBSERVATION not in tick or (ACTION in self._topics and ACTION not in tick):
            self._incomplete()
            return
        index = self._begin().send(tick[OBSERVATION], tick.get(ACTION), timestamp=self._tick_s)
        self.counts["frames"] += index is not None

    def _incomplete(self) -> None:
        self.counts["incomplete"] += 1
        if self.counts["incomplete"] == MANY_INCOMPLETE:
            missing = "frames came without their observation or action and are left out: lerobot drops messages"
            self._warn("incomplete", f"{MANY_INCOMPLETE} {missing} when this program, or the network, is too slow")

    def _on_picture(self, topic: str, pictures: PictureTopic, log_time_ns: int, payload: memoryview) -> None:
        try:
            self.counts["pictures"] += pictures.record(payload, self._times.unix_s(log_time_ns))
        except ValueError as error:
            self._unreadable(topic, error)

    async def catch_up(self) -> None:
        """Wait for the cameras. If lerobot is far ahead, they drop pictures: lerobot's memory would fill up."""
        for _ in range(round(CATCH_UP_S / CATCH_UP_POLL_S)):
            is_full = any(pictures.is_full for pictures in self._pictures.values())
            if not is_full or self._times.late_s > MAX_LATE_S:
                return
            await asyncio.sleep(CATCH_UP_POLL_S)

    def _unreadable(self, topic: str, error: Exception) -> None:
        self.counts["unreadable"] += 1
        self._warn(topic, f"a message of {topic[:80]} is left out: {error}")

    def _measure(self, period_s: float | None) -> None:
        """Warn once if lerobot's loop has another rate than the session."""
        if period_s is None or len(self._periods_s) == MEASURED_TICKS:
            return
        self._periods_s.append(period_s)
        if len(self._periods_s) == MEASURED_TICKS and (period_s := median(self._periods_s)) > 0:
            rate = 1 / period_s
            if abs(rate / self._fps - 1) > RATE_DIFFERS:
                remedy = f"and --fps is {self._fps}: start this command with --fps {round(rate)}"
                self._warn("rate", f"lerobot's loop runs at {rate:.1f} Hz, {remedy}")

    def _report_step(self, seconds: float) -> None:
        logger.warning("lerobot's clock was set by %.3f s: the times of frames and pictures go on steadily", seconds)

    def _warn(self, subject: str, text: str) -> None:
        """Log a warning once for each subject."""
        if subject not in self._warned:
            self._warned.add(subject)
            logger.warning("%s", text)

    # The session

    def _begin(self) -> AsyncRobotClient:
        """Return the client; the first call begins the session."""
        if self._client is None:
            self._client = self._new_client().start()
            logger.info("lerobot runs: recording the session %s", self._client.session)
        return self._client

    async def end(self) -> bool:
        """End the session; return whether everything is stored. The rest stays in the spool."""
        self._finish_tick()
        if (client := self._client) is None:
            return True
        folder, is_ended = client.protocol.folder, False
        try:
            await client.end(END_S)
            is_ended = True
        except TeleopError as error:
            logger.warning("the session %s could not be ended: %s", client.session, error)
        finally:
            await client.close()
        logger.info("lerobot's run is over, session %s: %s", client.session, SUMMARY.format(**self.counts))
        if is_left := folder is not None and folder.exists():  # the client deletes the folder of a complete session
            logger.warning("not everything is on the server: the next run, or `teleop-agent drain`, sends %s", folder)
        return is_ended and not is_left
