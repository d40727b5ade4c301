"""Write the sessions of a manifest into a folder, session by session: read, resample, write."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from datasets.films.writer import FilmSpan, FilmWriter
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
from datasets.types import Camera, Episode, Layout, Plan, Recording, Refused, SessionEntry

Report = Callable[[float], None]
Spans = dict[str, FilmSpan]
MAX_FILM_BYTES = 200 * 2**20  # LeRobot's own limit
RECORDING_WRITERS = {"mcap": McapWriter, "parquet": ParquetWriter}


class Written(NamedTuple):
    """What was written: the sessions with the hashes of their frames, their plans, and the films of each episode."""

    entries: list[SessionEntry]
    plans: list[Plan]
    spans: list[list[Spans]]  # of each session, of each episode


def write_lerobot(manifest: Manifest, folder: Path, report: Report) -> Written:
    """Write everything but info.json, which makes the folder a dataset."""
    layout, fps = check_same_layout(manifest.sessions, manifest.options)
    written = Written([], [], [])
    with LeRobotFolder(folder, layout, fps, manifest.options) as dataset:
        for entry, recording, cameras in _sessions(manifest, written, report):
            check_layout(layout, manifest.sessions[0], recording, cameras, entry)
            made = plan(recording, cameras, layout, entry, manifest.options, fps)
            made.warnings.extend(_left_out(entry, recording, layout, manifest.options))
            written.plans.append(made)
            written.spans.append([dataset.add(entry, each, recording, cameras) for each in made.episodes])
    if not any(made.episodes for made in written.plans):
        raise Refused(_nothing_left(written))
    dataset.finish()
    return written


class LeRobotFolder:
    """The files of a LeRobot dataset while they are written: tables by one writer, films by one writer a camera."""

    def __init__(self, folder: Path, layout: Layout, fps: int, options: Options):
        self._layout, self._options = layout, options
        is_v3 = options.format == "lerobot-v3.0"
        self._writer = (LeRobotV3Writer if is_v3 else LeRobotV21Writer)(folder, layout, fps, options)
        limits = {"max_file_bytes": MAX_FILM_BYTES if is_v3 else None, "one_per_episode": not is_v3}
        self._films = {
            camera.key: FilmWriter(fps, self._path_of(camera.key), options.video_codec, **limits)
            for camera in layout.cameras
        }
        self._threads = ThreadPoolExecutor(max(1, len(self._films)))  # FFmpeg works without Python's lock

    def __enter__(self) -> "LeRobotFolder":
        return self

    def __exit__(self, *exception) -> None:
        self._threads.shutdown()
        for film in self._films.values():
            film.close()

    def add(self, entry: SessionEntry, episode: Episode, recording: Recording, cameras: list[Camera]) -> Spans:
        """Write the films and then the rows of an episode; return where its pictures are."""
        films = {
            camera.key: self._threads.submit(self._films[camera.key].add, camera, episode.pictures[camera.key])
            for camera in cameras
        }
        rows = {feature.key: values(recording, episode, feature, self._options) for feature in self._layout.features}
        spans = {key: film.result() for key, film in films.items()}
        self._refuse_frozen(entry, spans)
        self._writer.add(entry, episode, rows, spans)
        return spans

    def _refuse_frozen(self, entry: SessionEntry, spans: Spans) -> None:
        if "frozen_camera" in self._options.refuse:
            for warning in (each for span in spans.values() for each in span.warnings):
                raise Refused(f"session {entry.session_id}: {warning}")

    def finish(self) -> None:
        self._writer.finish()
        self._writer.write_info()

    def _path_of(self, camera_key: str) -> Callable[[int], Path]:
        return lambda file_number: self._writer.film_path(camera_key, file_number)


def _sessions(
    manifest: Manifest, written: Written, report: Report
) -> Iterator[tuple[SessionEntry, Recording, list[Camera]]]:
    """Read session after session; raises Refused if a session is not the one of the manifest any more."""
    total, done = sum(entry.frame_count for entry in manifest.sessions), 0
    has_no_films = manifest.options.format == "parquet"
    for entry in manifest.sessions:
        recording, cameras = read(entry), [] if has_no_films else pictures.cameras_of(entry, manifest.options)
        check_unchanged(entry)  # after the reading, which takes no lock
        found = values_sha256(recording)
        if entry.values_sha256 not in ("", found):
            raise Refused(f"session {entry.session_id} has other frames than when this manifest was made")
        written.entries.append(replace(entry, values_sha256=found))
        yield written.entries[-1], recording, cameras
        done += entry.frame_count
        report(done / total)


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
        for entry, recording, cameras in _sessions(manifest, written, report):
            writer.add_session(entry, recording, cameras)
    return written
