"""Verify a LeRobot dataset, v3.0 or v2.1, session by session, before it becomes visible.

Of one session at a time the columns are in memory. The films of each camera are checked by a thread of their own, as
FFmpeg works without Python's lock.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from django.db import connection

from datasets.types import SessionEntry
from datasets.verification.database import Frames, OtherKind, read_frames
from datasets.verification.dataset import DataRows, Dataset, Statistics
from datasets.verification.expected_values import Source, is_interpolated
from datasets.verification.films import CameraFilms, FilmEpisode
from datasets.verification.findings import Findings, VerificationFailed, Verified
from datasets.verification.layout import INDEXES, VECTORS, expected_features
from datasets.verification.rules import Rows, expected_episodes, has_steps
from datasets.verification.source_films import SourceCamera, source_cameras
from datasets.verification.statistics import ColumnStatistics, TotalStatistics
from datasets.verification.totals import Totals, check_episode, check_files, check_info, check_modality, check_tasks
from datasets.verification.values import EpisodePlace, compare_rows, expected_types

Report = Callable[[float], None]


def verify(folder: Path, manifest, report: Report = lambda progress: None) -> Verified:
    """Compare the dataset with the database and the stored films; raises VerificationFailed.

    info.json is read as meta/info.json.new, its name until this function has returned.
    """
    if not manifest.sessions:
        raise VerificationFailed(["the manifest has no sessions"])
    with _Verification(Dataset(folder, manifest.options.format), manifest) as verification:
        done, total = 0, sum(entry.frame_count for entry in manifest.sessions)
        for entry in manifest.sessions:
            verification.check(entry)
            done += entry.frame_count
            report(done / max(1, total))
        return verification.conclude()


class _Verification:
    """What is known of the dataset so far, while its sessions are checked one after the other."""

    def __init__(self, dataset: Dataset, manifest):
        self._dataset, self._manifest, self._options = dataset, manifest, manifest.options
        self._findings, self._totals, self._statistics = Findings(), Totals(), TotalStatistics()
        first = manifest.sessions[0]
        self._fps = self._options.fps or min(entry.fps for entry in manifest.sessions)
        self._features = expected_features(first, dataset.cameras, self._options)
        self._types = expected_types(self._features)
        self._episode_statistics = dataset.statistics()
        self._rows: DataRows | None = None
        self._values = 0
        threads = max(1, (os.cpu_count() or 1) // max(1, len(dataset.cameras)))
        self._films = {
            key: CameraFilms(dataset, key, self._fps, threads, self._findings) for key in sorted(dataset.cameras)
        }
        self._threads = {key: ThreadPoolExecutor(1) for key in self._films}

    def __enter__(self) -> "_Verification":
        return self

    def __exit__(self, *exception) -> None:
        for thread in self._threads.values():
            thread.shutdown(cancel_futures=True)
        for film in self._films.values():
            film.close()

    def check(self, entry: SessionEntry) -> None:
        """Check all episodes of a session, which are the next ones of the dataset."""
        cameras = source_cameras(entry, self._options, self._findings)
        self._findings.compare(f"session {entry.session_id}: its cameras", sorted(cameras), sorted(self._films))
        self._findings.conclude()
        frames = self._read_frames(entry)
        times = {key: camera.times_us for key, camera in cameras.items()}
        films: list[Future] = []
        episodes = self._totals.episodes
        for rows in expected_episodes(frames, times, self._joints(), entry, self._options, self._fps):
            films += self._check_episode(entry, frames, cameras, rows)
        count = self._totals.episodes - episodes
        if count > 1 and self._options.on_gap == "refuse" and not has_steps(frames):
            self._findings.add(
                f"session {entry.session_id} has {count} episodes, so it has a gap that is to be refused"
            )
        for film in films:
            film.result()

    def conclude(self) -> Verified:
        """Check what all episodes add up to."""
        dataset, findings, totals = self._dataset, self._findings, self._totals
        for key, film in self._films.items():
            self._threads[key].submit(film.finish).result()
        self._check_end_of_file()
        findings.compare("meta/episodes: the number of episodes", len(dataset.episodes), totals.episodes)
        check_tasks(dataset, totals, findings)
        if self._options.modality:
            check_modality(dataset, self._features, findings)
        check_info(dataset, totals, self._features, self._films, self._manifest.sessions[0], self._fps, findings)
        self._statistics.check("meta/stats.json", dataset.total_statistics, findings)
        names = [name for film in self._films.values() for name in film.names]
        files = check_files(dataset, names, self._options, findings)
        findings.conclude()
        return Verified(totals.rows, self._values, sum(film.pictures for film in self._films.values()), files)

    def _read_frames(self, entry: SessionEntry) -> Frames:
        try:
            frames, count = read_frames(entry.session_id, entry.frame_count, self._column_types())
        except OtherKind as error:
            raise VerificationFailed([f"session {entry.session_id}: {error}"]) from None
        if not connection.in_atomic_block:
            connection.close()  # back to the pool: films take long
        self._findings.compare(f"session {entry.session_id}: the number of its frames", count, entry.frame_count)
        self._findings.conclude()
        return frames

    def _check_episode(
        self, entry: SessionEntry, frames: Frames, cameras: dict[str, SourceCamera], rows: Rows
    ) -> list[Future]:
        """Check the next episode; its films are checked in threads, of which the work is returned."""
        number, length = self._totals.episodes, len(rows.times_us)
        stated = next(self._episode_statistics, None)
        if number >= len(self._dataset.episodes) or stated is None:
            self._findings.add(
                f"meta/episodes has {len(self._dataset.episodes)} episodes; one more with {length} rows of session "
                f"{entry.session_id} expected"
            )
            self._findings.conclude()
        check_episode(self._dataset, self._totals, entry, rows, self._findings)
        films = [
            self._threads[key].submit(
                film.check,
                FilmEpisode(
                    number,
                    entry.session_id,
                    cameras[key],
                    rows.shown[key],
                    stated.get(key, {}),
                    self._dataset.statistics_keys,
                ),
            )
            for key, film in self._films.items()
        ]
        first_index = self._totals.rows
        task_index = self._totals.add(entry, length)
        place = EpisodePlace(self._open(number), number, entry.session_id, first_index, task_index, self._fps)
        self._check_values(place, Source(frames, rows, self._options), stated)
        return films

    def _check_values(self, place: EpisodePlace, source: Source, stated: Statistics) -> None:
        expected = {each.key: len(each.columns) or 1 for each in self._features if each.dtype != "string"}
        expected |= dict.fromkeys(INDEXES, 1)
        where = f"statistics of episode {place.episode} (session {place.session_id})"
        self._findings.compare(f"{where}: the list of features", sorted(stated), sorted([*expected, *self._films]))
        statistics = {key: ColumnStatistics(width, stated.get(key) or {}) for key, width in expected.items()}
        batches = self._rows.take(len(source.rows.times_us))
        self._values += compare_rows(batches, source, self._features, place, statistics, self._findings)
        self._findings.conclude()
        for key, found in statistics.items():
            found.check(f"{where}: {key}", self._dataset.statistics_keys, self._findings)
        self._findings.conclude()
        self._statistics.add(stated)

    def _open(self, episode: int) -> str:
        """Return the name of the file of this episode's rows, and open it if the last episode was in another one."""
        name = self._dataset.data_name(episode)
        if self._rows is None or self._rows.name != name:
            self._check_end_of_file()
            self._rows = self._dataset.rows_of(name)
            self._findings.compare(f"{name}: its features", self._rows.described, self._rows.schema.names)
            schema = dict(zip(self._rows.schema.names, self._rows.schema.types, strict=True))
            for column in sorted(schema.keys() | self._types.keys()):
                found, expected = schema.get(column), self._types.get(column)
                if found != expected:
                    self._findings.add(f"{name}: column {column} has the type {found}; {expected} expected")
            self._findings.conclude()
        return name

    def _check_end_of_file(self) -> None:
        if self._rows and (surplus := sum(len(batch) for batch in self._rows.take(self._rows.count))):
            expected = self._rows.count - surplus
            self._findings.add(f"{self._rows.name} has {self._rows.count} rows; {expected} expected")

    def _column_types(self) -> dict[str, type]:
        """Return the types of the columns to read: rounded to float32 where no computation follows."""
        whole = set(self._joints()) if "idle" in self._options.trim else set()
        types: dict[str, type] = {}
        for feature in self._features:
            for number, column in enumerate(feature.columns):
                is_exact = column in whole or is_interpolated(feature, number, self._options)
                number_type = np.float64 if is_exact else np.float32
                types[column] = number_type if feature.dtype == "float32" else object
        return types

    def _joints(self) -> list[str]:
        """Return the columns of the state, or, if the frames have none, of the action."""
        found = {feature.key: feature.columns for feature in self._features}
        return next((found[key] for key in VECTORS.values() if key in found), [])
