"""The watchers' half of previews: the newest picture of each camera, for the pages of one process."""

import asyncio
import logging
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Set
from contextlib import suppress
from typing import NamedTuple

from robots import channel_layer
from robots.worker_messages import watch_previews
from teleop.ingest.previews import EARLY_S, GROUP, TILE_INTERVAL_S
from teleop.protocol import MAX_PREVIEW_CAMERAS

logger = logging.getLogger(__name__)

RENEW_S = 5
RENEW_AGAIN_S = 0.5  # a page that scrolls wants other robots all the time
RETRY_S = 1
ASKING_S = 10  # a page that has sent no request for so long is not shown
FRESH_S = 5
MAX_BYTES = 2**25  # of all pictures: 300 robots with 8 cameras have 24 MB in pictures of 10 KB
MAX_ANSWER_BYTES = 2**18  # the rest comes with the next answer; a connection with 1 MiB unsent is aborted


class Preview(NamedTuple):
    """The newest picture of one camera; `number` counts the pictures that this process has received."""

    number: int
    camera: str
    late_s: float  # when the robot's worker received it
    received_at: float
    jpeg: bytes


class PreviewHub:
    """The newest pictures of the robots that pages of this process want, requested from the workers meanwhile."""

    def __init__(self, clock: Callable[[], float]):
        self.clock = clock
        self._watches: set[PreviewWatch] = set()
        self._pages: Counter[str] = Counter()  # by robot
        self._pictures: dict[str, dict[str, Preview]] = {}  # by robot and camera
        self._bytes = 0
        self._numbered = 0
        self._wanted, self._changed = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task] = []

    def update(self, watch: "PreviewWatch", before: Set[str]) -> None:
        """Note that a page wants other robots than before."""
        after = watch.robot_ids
        (self._watches.add if after else self._watches.discard)(watch)
        for robot_id in after - before:
            self._pages[robot_id] += 1
        for robot_id in before - after:
            self._pages[robot_id] -= 1
            if not self._pages[robot_id]:
                del self._pages[robot_id]
                self._bytes -= sum(len(preview.jpeg) for preview in self._pictures.pop(robot_id, {}).values())
        if not self._watches:
            self._wanted.clear()
        elif after - before:
            self._wanted.set()
            self._changed.set()
            self._join()

    def _join(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(work) for work in (self._listen(), self._renew())]

    async def _listen(self) -> None:
        while True:
            await self._wanted.wait()
            await channel_layer.listen(GROUP, self.on_message, wanted=self._wanted.is_set)

    def on_message(self, message: dict) -> None:
        now = self.clock()
        for robot_id, camera, late_s, jpeg in message["pictures"]:
            if robot_id not in self._pages:
                continue
            cameras = self._pictures.setdefault(robot_id, {})
            old = cameras.pop(camera, None)
            if old is None and len(cameras) >= MAX_PREVIEW_CAMERAS:
                old = cameras.pop(next(iter(cameras)))  # the camera with the oldest picture
            self._bytes -= len(old.jpeg) if old else 0
            if self._bytes + len(jpeg) <= MAX_BYTES:
                self._numbered += 1
                self._bytes += len(jpeg)
                cameras[camera] = Preview(self._numbered, camera, late_s, now, jpeg)

    def fresh(self, robot_id: str) -> list[Preview]:
        """Return the robot's newest picture of each camera, the oldest picture first, but none from before FRESH_S."""
        since = self.clock() - FRESH_S
        return [preview for preview in self._pictures.get(robot_id, {}).values() if preview.received_at > since]

    async def _renew(self) -> None:
        while True:
            await self._wanted.wait()
            self._changed.clear()
            pause_s = RENEW_S
            pages, tiles = (self._asking_for(is_tiled) for is_tiled in (False, True))
            try:
                if pages or tiles:
                    await watch_previews(pages, tiles)
            except Exception as error:  # redis-py, sockets and the layer each raise their own errors
                logger.warning("could not request previews through the channel layer: %s", error)
                pause_s = RETRY_S
            await asyncio.sleep(RENEW_AGAIN_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s - RENEW_AGAIN_S):
                    await self._changed.wait()

    def _asking_for(self, is_tiled: bool) -> list[str]:
        asking = [watch for watch in self._watches if watch.is_asking and watch.is_tiled == is_tiled]
        return sorted({robot_id for watch in asking for robot_id in watch.robot_ids})


class _Sent:
    """What a page has got of one robot."""

    number = 0
    at = float("-inf")


class PreviewWatch:
    """The pictures for one page: of all cameras of its robot, or with `is_tiled` of one camera of each robot.

    A page gets only the newest picture of a camera, together with an answer. So a slow page gets fewer pictures.
    """

    def __init__(self, hub: PreviewHub, is_tiled: bool):
        self.is_tiled = is_tiled
        self._hub = hub
        self._sent: dict[str, _Sent] = {}  # by wanted robot; the one that has waited longest is first
        self._asked_at = float("-inf")

    @property
    def robot_ids(self) -> Set[str]:
        return self._sent.keys()

    @property
    def is_asking(self) -> bool:
        return self._hub.clock() - self._asked_at < ASKING_S

    def note_request(self) -> None:
        self._asked_at = self._hub.clock()

    def want(self, robot_ids: Iterable[str]) -> None:
        self.note_request()
        before = self.robot_ids
        self._sent = {robot_id: self._sent.get(robot_id) or _Sent() for robot_id in robot_ids}
        self._hub.update(self, before)

    def messages(self) -> list[bytes]:
        """Return the pictures that are new for the page, as messages to it (docs/live.md)."""
        messages: list[bytes] = []
        now, size = self._hub.clock(), 0
        for robot_id, sent in list(self._sent.items()):
            for preview in self._new(robot_id, sent, now):
                if size > MAX_ANSWER_BYTES:
                    return messages
                messages.append(_message(robot_id, preview, now))
                size += len(preview.jpeg)
                sent.number, sent.at = preview.number, now
                self._sent[robot_id] = self._sent.pop(robot_id)
        return messages

    def _new(self, robot_id: str, sent: _Sent, now: float) -> list[Preview]:
        if self.is_tiled and now - sent.at < TILE_INTERVAL_S - EARLY_S:
            return []
        previews = self._hub.fresh(robot_id)
        if self.is_tiled:  # the camera that the worker chooses too
            previews = sorted(previews, key=lambda preview: preview.camera)[:1]
        return [preview for preview in previews if preview.number > sent.number]


def _message(robot_id: str, preview: Preview, now: float) -> bytes:
    names = (b"%c%b" % (len(name), name.encode()) for name in (robot_id, preview.camera))
    age_s = preview.late_s + now - preview.received_at
    return b"".join((*names, struct.pack(">d", age_s), preview.jpeg))
