"""Look at an episode's pictures while they are written: statistics, and whether the camera is frozen."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from datasets.films.copying import Part
from datasets.films.frozen import FrozenPictures, suspicious_rows
from datasets.films.index import index_of
from datasets.films.picture_stats import PictureStats, sampled_rows
from datasets.films.reader import CameraReader
from datasets.films.runs import runs
from datasets.types import Camera

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EpisodeNotes:
    """Statistics and frozen stretches of one episode's pictures. Only the statistics convert a picture to RGB."""

    def __init__(self, camera: Camera, positions: np.ndarray):
        self._camera, self._positions = camera, positions
        self._is_sampled = np.zeros(len(positions), bool)
        self._is_sampled[sampled_rows(len(positions))] = True
        self._stats, self._frozen = PictureStats(), FrozenPictures()
        self._reformatter = VideoReformatter()

    @property
    def stats(self) -> dict[str, np.ndarray]:
        return self._stats.result()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return sentences for the report."""
        return tuple(self._sentence(begin_us, end_us) for begin_us, end_us in self._frozen.spans_us)

    def watch(self, rows: slice, reader: CameraReader) -> Iterator[av.VideoFrame]:
        """Decode the pictures of these rows, note what they show, and yield them."""
        for row, (position, picture) in enumerate(reader.pictures(self._positions[rows]), rows.start):
            self._frozen.feed(int(self._camera.times_us[position]), picture)
            if self._is_sampled[row]:
                self._count(picture)
            yield picture
        self._frozen.stop()

    def look_at_copies(self, parts: Sequence[Part], reader: CameraReader) -> None:
        """Decode those pictures of copied packets that matter: the sample, and where the camera may be frozen."""
        for rows in [part.rows for part in parts if part.is_copied]:
            positions = self._positions[rows]
            for _, picture in reader.pictures(positions[self._is_sampled[rows]]):
                self._count(picture)
            for suspicious in self._suspicious(positions):
                for position, picture in reader.pictures(positions[suspicious]):
                    self._frozen.feed(int(self._camera.times_us[position]), picture)
                self._frozen.stop()

    def _count(self, picture: av.VideoFrame) -> None:
        self._stats.feed(self._reformatter.reformat(picture, format="rgb24").to_ndarray())

    def _suspicious(self, positions: np.ndarray) -> Iterator[slice]:
        sizes, is_key = np.zeros(len(positions), np.int64), np.zeros(len(positions), bool)
        for part in runs(self._camera.film_numbers[positions]):
            index = index_of(self._camera.films[self._camera.film_numbers[positions[part.start]]])
            times = index.times[self._camera.picture_numbers[positions[part]]]
            sizes[part] = index.packet_sizes[index.packet_times.searchsorted(times)]
            is_key[part] = np.isin(times, index.key_times)
        return suspicious_rows(sizes, is_key)

    def _sentence(self, begin_us: int, end_us: int) -> str:
        at = (EPOCH + timedelta(microseconds=begin_us)).isoformat(timespec="milliseconds")
        seconds = (end_us - begin_us) / 1e6
        camera = self._camera.key
        return f"camera {camera} is frozen: it gives the same picture for at least {seconds:.1f} s from {at} on"
