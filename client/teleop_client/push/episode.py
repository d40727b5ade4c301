"""Send one episode: its rows as the frames of a session, its films, and the end."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..camera.film_file import FilmUnusable
from ..errors import (
    AcknowledgedFramesLost,
    Fatal,
    FrameInvalid,
    FrameRefused,
    HandshakeRefused,
    KeyRevoked,
    MessageRefused,
    SessionDeleted,
    SessionTaken,
    TeleopError,
    TeleopTimeout,
)
from ..threaded import RobotClient
from . import films
from .dataset import Dataset, Episode
from .film_sender import FilmRefused, FilmSender, Upload
from .recording_time import RecordingTime, offset_us
from .rows import frames
from .target import AGAIN, NO_KEY, PATIENCE_S, Pace, PushStopped, Target

MAX_UNACKNOWLEDGED = 1000  # frames of at most 64 KiB in memory: the client holds 64 MiB, and drops further frames
WAIT_SHOWN_S = 1.0  # then the progress line gives the reason for the wait
MAX_FAULTS = 20  # named one by one

_STOPS = (HandshakeRefused, KeyRevoked, SessionTaken, TeleopTimeout, PushStopped)
_FAULTS = (FrameRefused, MessageRefused, AcknowledgedFramesLost)


@dataclass
class EpisodeResult:
    """The result of one episode. Each of `faults` is a sentence about data that the server lacks or has otherwise."""

    session: str
    frames_sent: int = 0
    frames_known: int = 0  # to the server before
    frames_refused: int = 0
    films_sent: int = 0
    films_known: int = 0
    film_bytes: int = 0
    is_deleted: bool = False
    is_stopped: bool = False  # nothing more can be sent: the server is away, or refuses the robot
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class EpisodeSender:
    """Sends episodes of one dataset, one at a time."""

    def __init__(self, target: Target, dataset: Dataset, time: RecordingTime) -> None:
        self._target, self._dataset, self._time = target, dataset, time
        self._films = FilmSender(target)
        self._pace = Pace(target.upload_kbit_s)
        self._progress: Callable[[str], None] = lambda text: None

    def send(self, episode: Episode, session: str, progress: Callable[[str], None]) -> EpisodeResult:
        """Send an episode as the session of this key. `progress` gets what it does, in some words."""
        self._progress = progress
        result, invalid = EpisodeResult(session), dict[str, str]()
        try:
            client = self._client(episode, result, invalid)
            with closing(client.start()):
                self._send(client, episode, result)
            counts = client.stats.invalid
            result.notes += [f"{text} ({counts.get(key, 1)} frames)" for key, text in invalid.items()]
        except SessionDeleted:
            result.is_deleted = True
        except _STOPS as error:
            result.is_stopped = True
            is_without_key = isinstance(error, HandshakeRefused) and not self._target.key
            result.faults.append(f"{error}; {NO_KEY if is_without_key else AGAIN}")
        except (Fatal, OSError, ValueError) as error:  # ended by staff; the disk; unreadable rows, too large labels
            result.faults.append(str(error))
        return result

    def _client(self, episode: Episode, result: EpisodeResult, invalid: dict[str, str]) -> RobotClient:
        """Return the client. `invalid` gets a sentence for each name whose values are not all stored."""

        def note(error: TeleopError) -> None:
            result.frames_refused += isinstance(error, FrameRefused)
            if isinstance(error, FrameInvalid):
                invalid.setdefault(error.key, str(error))
            elif isinstance(error, _FAULTS) and len(result.faults) < MAX_FAULTS:
                result.faults.append(str(error))

        return RobotClient(
            self._target.url,
            self._target.robot_id,
            self._target.key,
            result.session,
            fps=self._dataset.fps,
            meta_info=meta_info(self._dataset, episode),
            spool_dir=None,
            cameras=False,
            recreate_deleted=self._target.recreate_deleted,
            ca_file=self._target.ca_file and str(self._target.ca_file),
            on_error=note,
        )

    def _send(self, client: RobotClient, episode: Episode, result: EpisodeResult) -> None:
        self._wait(client, client.wait_connected)
        result.frames_known = client.next_frame_index
        start_us = self._start_us(client, episode)
        self._send_frames(client, episode, start_us, result)
        self._send_films(episode, start_us, result)
        # Not in `start`: an episode of which an earlier push has sent everything keeps its mark, or has none.
        is_guessed = self._time.is_guessed(episode) and (result.frames_sent or result.films_sent)
        self._check_count(client.end(PATIENCE_S, {"time_is_guessed": True} if is_guessed else None), episode, result)

    def _wait(self, client: RobotClient, wait: Callable[[float], None]) -> None:
        """Wait for the server, and show why if it takes long."""
        give_up_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                return wait(min(WAIT_SHOWN_S, PATIENCE_S))
            except TeleopTimeout as error:
                why = client.stats.last_error or "no answer"
                if time.monotonic() >= give_up_s:
                    raise PushStopped(f"the server did not answer within {PATIENCE_S:.0f} s: {why}") from error
                self._progress(f"waiting for the server: {why}")

    def _start_us(self, client: RobotClient, episode: Episode) -> int:
        """Return the time of row 0. If the server has rows of the episode, the others go on in their time."""
        if not client.next_frame_index:
            return self._time.start_us(episode)
        if client.last_timestamp is None:
            raise PushStopped(
                f"the server has {client.next_frame_index} frames, and does not say their time: "
                "it is older than this client; update it first"
            )
        return round(client.last_timestamp * 1e6) - offset_us(client.next_frame_index - 1, self._dataset.fps)

    def _send_frames(self, client: RobotClient, episode: Episode, start_us: int, result: EpisodeResult) -> None:
        """Send the rows that the server does not have."""
        size = 0
        for index, row in self._rows(episode, result.frames_known):
            time_s = (start_us + offset_us(index, self._dataset.fps)) / 1e6
            client.send(**row, timestamp=time_s, frame_index=index)
            result.frames_sent += 1
            if self._target.upload_kbit_s:
                size = size or len(json.dumps(row, default=float))
                self._pace.spend(size)
            if result.frames_sent % MAX_UNACKNOWLEDGED == 0:
                self._wait(client, client.flush)
                self._progress(f"{index + 1}/{episode.length} frames")
        self._wait(client, client.flush)
        result.frames_sent -= result.frames_refused

    def _rows(self, episode: Episode, first: int) -> Iterator[tuple[int, dict[str, Any]]]:
        if first < episode.length:
            yield from islice(enumerate(frames(self._dataset, episode)), first, None)

    def _send_films(self, episode: Episode, start_us: int, result: EpisodeResult) -> None:
        for camera, span in episode.films.items():
            with TemporaryDirectory(prefix="teleop-push-") as folder:
                try:
                    for piece, path in films.cut(span, episode.length, self._dataset.fps, Path(folder)):
                        self._send_film(path, camera, piece, start_us, result)
                        path.unlink()
                        self._progress(f"{piece.end}/{episode.length} pictures of {camera}")
                except FilmUnusable as error:
                    result.faults.append(f"camera {camera}: {error}")

    def _send_film(self, path: Path, camera: str, piece: films.Piece, start_us: int, result: EpisodeResult) -> None:
        begin_us, end_us = (start_us + offset_us(row, self._dataset.fps) for row in (piece.first, piece.end))
        try:
            outcome = self._films.send(path, result.session, camera, begin_us, end_us)
        except FilmRefused as error:
            result.faults.append(
                f"camera {camera}, rows {piece.first} to {piece.end - 1}: the film was refused: {error}"
            )
            return
        result.film_bytes += path.stat().st_size
        result.films_sent += outcome is Upload.NEW
        result.films_known += outcome is not Upload.NEW
        note = f"camera {camera}: the server has other films of the same rows, and keeps them"
        if outcome is Upload.OTHER and note not in result.notes:
            result.notes.append(note)

    @staticmethod
    def _check_count(count: int, episode: Episode, result: EpisodeResult) -> None:
        if count != episode.length and not result.frames_refused:
            result.faults.append(f"the session has {count} frames on the server; {episode.length} expected")


def meta_info(dataset: Dataset, episode: Episode) -> dict[str, Any]:
    """Return the labels and the origin of an episode's session."""
    labels = {name: value for name, value in episode.labels.items() if name != "start_time"}
    tasks = [task for task in episode.tasks if task]
    source = {"dataset": dataset.name, "episode": episode.index, "version": dataset.version}
    found: dict[str, Any] = {
        "task": tasks[0] if tasks else None,
        "tasks": tasks if len(tasks) > 1 else None,
        "robot_type": dataset.robot_type,
        **labels,
        "joint_names": {part: list(names) for part, names in dataset.joint_names.items()},
        "source": source,
    }
    return {name: value for name, value in found.items() if value is not None}
