"""Write the sessions of a manifest into a folder, session by session: read, resample, write."""

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.films.writer import FilmSpan, FilmWriter
from datasets.formats.lerobot_info import VIDEO_FILE_MB
from datasets.formats.lerobot_v3 import LeRobotV3Writer
from datasets.formats.lerobot_v21 import LeRobotV21Writer
from datasets.formats.mcap import McapWriter
from datasets.formats.parquet import ParquetWriter
from datasets.grid.plan import plan
from datasets.grid.values import values
from datasets.manifest import Manifest, check_unchanged
from datasets.options import Options
from datasets.recording import features, pictures
from datasets.recording.frames import read, values_sha256
from datasets.recording.layout import check_layout, check_same_layout
from datasets.recording.names import name_of
from datasets.types import Camera, Episode, Layout, Plan, Recording, Refused, SessionEntry

Report = Callable[[float], None]
Spans = dict[str, FilmSpan]
REPORT_S = 2  # while films are written
RECORDING_WRITERS = {"mcap": McapWriter, "parquet": ParquetWriter}


class Written(NamedTuple):
    """The sessions with the hashes of their frames, their plans, and the films of each episode.

    The episodes of the plans are without `samples` and `pictures`, whose arrays are as large as the dataset.
    """

    entries: list[SessionEntry]
    plans: list[Plan]
    spans: list[list[Spans]]  # of each session, of each episode


class Progress:
    """The progress over all sessions, counted in frames, 0 to 1."""

    def __init__(self, manifest: Manifest, report: Report):
        self._total = sum(entry.frame_count for entry in manifest.sessions)
        self._done, self._report = 0, report

    def within_session(self, frames: float) -> None:
        """Report that so many frames of the present session are written."""
        self._report(min(1.0, (self._done + frames) / self._total))

    def session_is_written(self, entry: SessionEntry) -> None:
        self._done += entry.frame_count
        self.within_session(0)


def write_lerobot(manifest: Manifest, folder: Path, report: Report) -> Written:
    """Write everything but info.json, which makes the folder a dataset."""
    layout, fps = check_same_layout(manifest.sessions, manifest.options)
    written, progress = Written([], [], []), Progress(manifest, report)
    with LeRobotFolder(folder, layout, fps, manifest.options, progress) as dataset:
        for entry, recording, cameras in _sessions(manifest, written, progress):
            check_layout(layout, manifest.sessions[0], recording, cameras, entry)
            made = plan(recording, cameras, layout, entry, manifest.options, fps)
            made.warnings.extend(_left_out(entry, recording, layout, manifest.options))
            written.spans.append(dataset.add(entry, made.episodes, recording, cameras))
            without_arrays = [replace(episode, samples={}, pictures={}) for episode in made.episodes]
            written.plans.append(made._replace(episodes=without_arrays))
    if not any(made.episodes for made in written.plans):
        raise Refused(_nothing_left(written))
    dataset.finish()
    return written


class LeRobotFolder:
    """The files of a LeRobot dataset while they are written: tables by one writer, films by one writer a camera."""

    def __init__(self, folder: Path, layout: Layout, fps: int, options: Options, progress: Progress):
        self._layout, self._fps, self._options, self._progress = layout, fps, options, progress
        is_v3 = options.format == "lerobot-v3.0"
        self._writer = (LeRobotV3Writer if is_v3 else LeRobotV21Writer)(folder, layout, fps, options)
        self._films = {
            camera.key: FilmWriter(
                fps,
                self._path_of(camera.key),
                options.video_codec,
                VIDEO_FILE_MB * 2**20 if is_v3 else None,
                one_per_episode=not is_v3,
                on_rows=self._count,
            )
            for camera in layout.cameras
        }
        self._threads = ThreadPoolExecutor(max(1, len(self._films)))  # FFmpeg works without Python's lock
        self._film_rows = 0  # of the present session, all cameras together
        self._is_stopped = False

    def __enter__(self) -> "LeRobotFolder":
        return self

    def __exit__(self, *exception) -> None:
        self._is_stopped = True
        self._threads.shutdown()
        for film in self._films.values():
            film.close()

    def add(
        self, entry: SessionEntry, episodes: list[Episode], recording: Recording, cameras: list[Camera]
    ) -> list[Spans]:
        """Write the episodes of a session; return where the pictures of each are. The recording is empty then."""
        self._film_rows = 0
        spans = []
        for episode in episodes:
            rows = {each.key: values(recording, episode, each, self._options) for each in self._layout.features}
            if episode is episodes[-1]:
                recording.columns.clear()  # of a long session as large as the tables that are written now
            spans.append(self._add_episode(entry, episode, rows, cameras))
        return spans

    def _add_episode(
        self, entry: SessionEntry, episode: Episode, rows: dict[str, np.ndarray], cameras: list[Camera]
    ) -> Spans:
        films = {
            camera.key: self._threads.submit(self._films[camera.key].add, camera, episode.pictures[camera.key])
            for camera in cameras
        }
        self._wait(entry, set(films.values()))
        try:
            spans = {key: film.result() for key, film in films.items()}
        except Refused as error:
            raise Refused(f"{name_of(entry)}: {error}") from None
        self._refuse_frozen(entry, spans)
        self._writer.add(entry, episode, rows, spans)
        return spans

    def _wait(self, entry: SessionEntry, films: set[Future]) -> None:
        """Wait for the films, and report meanwhile: this thread alone has a connection to the database."""
        while films:
            _, films = wait(films, REPORT_S)
            self._progress.within_session(self._film_rows / len(self._films) * entry.fps / self._fps)

    def _count(self, rows: int) -> None:
        """Count rows, in the thread of a film; end it if the export has failed."""
        if self._is_stopped:
            raise CancelledError
        self._film_rows += rows

    def _refuse_frozen(self, entry: SessionEntry, spans: Spans) -> None:
        if "frozen_camera" in self._options.refuse:
            for warning in (each for span in spans.values() for each in span.warnings):
                raise Refused(f"{name_of(entry)}: {warning}")

    def finish(self) -> None:
        self._writer.finish()
        self._writer.write_info()

    def _path_of(self, camera_key: str) -> Callable[[int], Path]:
        return lambda file_number: self._writer.film_path(camera_key, file_number)


def _sessions(
    manifest: Manifest, written: Written, progress: Progress
) -> Iterator[tuple[SessionEntry, Recording, list[Camera]]]:
    """Read session after session; raises Refused if a session is not the one of the manifest any more."""
    for entry in manifest.sessions:
        recording, cameras = read(entry), pictures.cameras_of(entry, manifest.options)
        check_unchanged(entry)  # after the reading, which takes no lock
        found = values_sha256(recording)
        if entry.values_sha256 not in ("", found):
            raise Refused(f"{name_of(entry)} has other frames than when this manifest was made")
        written.entries.append(replace(entry, values_sha256=found))
        yield written.entries[-1], recording, cameras
        progress.session_is_written(entry)


def _left_out(entry: SessionEntry, recording: Recording, layout: Layout, options: Options) -> list[str]:
    return [*features.left_out(recording, entry, options, layout), *pictures.left_out(entry, options)]


def _nothing_left(written: Written) -> str:
    """Return why no session has an episode, with the reason of the first."""
    for entry, made in zip(written.entries, written.plans, strict=True):
        for trim in made.trims:
            seconds = (trim.end_us - trim.begin_us) / 1e6
            return (
                f"no session has an episode: of session {entry.session_id}, for example, {seconds:.2f} s are left out "
                f"({trim.reason})"
            )
    return "no session has an episode"


def write_recordings(manifest: Manifest, folder: Path, report: Report) -> Written:
    """Write the frames as they were recorded, without a grid: MCAP and Parquet."""
    written = Written([], [], [])
    with RECORDING_WRITERS[manifest.options.format](folder, manifest.options) as writer:
        for entry, recording, cameras in _sessions(manifest, written, Progress(manifest, report)):
            writer.add_session(entry, recording, cameras)
            written.plans.append(Plan([], [], pictures.left_out(entry, manifest.options)))
    return written
