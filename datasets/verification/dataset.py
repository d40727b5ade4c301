"""Read the tables of a LeRobot dataset, v3.0 or v2.1, by pyarrow and json; no value is checked here."""

import json
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datasets.verification.findings import VerificationFailed
from datasets.verification.statistics import BASIC, QUANTILES

INFO = "meta/info.json.new"  # its name until the dataset is verified
BATCH_ROWS, BATCH_EPISODES = 2**15, 50
BUFFER_BYTES = 2**20
STATISTICS = "stats/"
FILE = "file"  # the name of the file that a row of meta/episodes is from
FILES = "chunk-{chunk:03d}/file-{file:03d}"
Statistics = dict[str, dict[str, Any]]


class Dataset:
    """The tables of one dataset. What cannot be read at all raises VerificationFailed with the name of the file."""

    def __init__(self, folder: Path, version: str):
        self.folder = folder
        self.is_v3 = version == "lerobot-v3.0"
        self.statistics_keys = (*BASIC, *QUANTILES) if self.is_v3 else BASIC
        self.info = self._json(INFO)
        self.features: dict[str, dict[str, Any]] = self.info.get("features") or {}
        self.cameras = [key for key, feature in self.features.items() if feature.get("dtype") == "video"]

    @cached_property
    def episodes(self) -> list[dict[str, Any]]:
        """Return the rows of all episodes, without their statistics."""
        if not self.is_v3:
            return list(self._lines("meta/episodes.jsonl"))
        found: list[dict[str, Any]] = []
        places = [f"{part}/{name}_index" for part in self._parts() for name in ("chunk", "file")]
        names = self.names("meta/episodes")
        if not names:
            raise VerificationFailed(["meta/episodes/chunk-000/file-000.parquet is missing"])
        for name in names:
            columns = [each for each in self._read(name, pq.read_schema).names if not each.startswith(STATISTICS)]
            if missing := set(places) - set(columns):
                raise VerificationFailed([f"{name} has no column {', '.join(sorted(missing))}"])
            table = self._read(name, lambda path, columns=columns: pq.read_table(path, columns=columns))
            found += [row | {FILE: name} for row in table.to_pylist()]
        return found

    def statistics(self) -> Iterator[Statistics]:
        """Yield the statistics of each episode: feature -> "mean" -> list. Of all together they may take too much."""
        if not self.is_v3:
            for row in self._lines("meta/episodes_stats.jsonl"):
                yield row.get("stats", {})
            return
        for name in self.names("meta/episodes"):
            for batch in self._read(name, pq.ParquetFile).iter_batches(BATCH_EPISODES):
                yield from map(_nested, batch.to_pylist())

    @cached_property
    def total_statistics(self) -> Statistics:
        """Return the statistics of all episodes together."""
        return self._json("meta/stats.json")

    @property
    def modality(self) -> dict[str, Any]:
        return self._json("meta/modality.json")

    @cached_property
    def tasks(self) -> dict[int, str]:
        if not self.is_v3:
            return {row["task_index"]: row["task"] for row in self._lines("meta/tasks.jsonl")}
        table = self._table("meta/tasks.parquet")
        if (table.schema.pandas_metadata or {}).get("index_columns") != ["task"]:  # readers would take the numbers
            raise VerificationFailed(["meta/tasks.parquet: its pandas metadata do not say that the index is the task"])
        return dict(zip(table["task_index"].to_pylist(), table["task"].to_pylist(), strict=True))

    def data_name(self, episode: int) -> str:
        """Return the name of the file with the rows of this episode."""
        if not self.is_v3:
            return f"data/chunk-{episode // 1000:03d}/episode_{episode:06d}.parquet"
        row = self.episodes[episode]
        return f"data/{FILES.format(chunk=row['data/chunk_index'], file=row['data/file_index'])}.parquet"

    def episodes_name(self, episode: int) -> str:
        """Return the name of the file that the episode's row says it is in."""
        row = self.episodes[episode]
        place = {"chunk": row["meta/episodes/chunk_index"], "file": row["meta/episodes/file_index"]}
        return f"meta/episodes/{FILES.format(**place)}.parquet"

    def film_name(self, episode: int, camera: str) -> str:
        if not self.is_v3:
            return f"videos/chunk-{episode // 1000:03d}/{camera}/episode_{episode:06d}.mp4"
        row = self.episodes[episode]
        place = {"chunk": row[f"videos/{camera}/chunk_index"], "file": row[f"videos/{camera}/file_index"]}
        return f"videos/{camera}/{FILES.format(**place)}.mp4"

    def names(self, under: str = "") -> list[str]:
        """Return the names of all files in a folder of the dataset."""
        found = (path for path in (self.folder / under).rglob("*") if not path.is_dir())
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def rows_of(self, name: str) -> "DataRows":
        # Without the buffer all of a column of a row group, which is an episode, would be in memory.
        open_file = partial(pq.ParquetFile, buffer_size=BUFFER_BYTES, pre_buffer=False)
        return DataRows(self._read(name, open_file), name)

    def _parts(self) -> list[str]:
        """Return what an episode's row says the file of."""
        return ["data", "meta/episodes", *(f"videos/{camera}" for camera in self.cameras)]

    def _table(self, name: str) -> pa.Table:
        return self._read(name, pq.read_table)

    def _json(self, name: str) -> Any:
        return self._read(name, lambda path: json.loads(path.read_text()))

    def _lines(self, name: str) -> Iterator[Any]:
        with self._read(name, lambda path: path.open()) as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise VerificationFailed([f"{name}: line {number} is no JSON: {error}"]) from None

    def _read(self, name: str, read: Callable[[Path], Any]) -> Any:
        try:
            return read(self.folder / name)
        except (OSError, ValueError, pa.ArrowInvalid) as error:
            raise VerificationFailed([f"{name} is missing or cannot be read: {error}"]) from None


class DataRows:
    """The rows of a data file, in their order, in pieces."""

    def __init__(self, file: pq.ParquetFile, name: str):
        self.name, self.count, self.schema = name, file.metadata.num_rows, file.schema_arrow
        self._batches = file.iter_batches(BATCH_ROWS)
        self._rest: pa.RecordBatch | None = None
        described = json.loads((self.schema.metadata or {}).get(b"huggingface", b"{}"))
        self.described = list(described.get("info", {}).get("features", {}))  # the features for the `datasets` package

    def take(self, count: int) -> Iterator[pa.RecordBatch]:
        """Yield the next `count` rows, or as many as there are."""
        while count:
            batch = self._rest if self._rest is not None else next(self._batches, None)
            if batch is None:
                return
            piece, rest = batch.slice(0, count), batch.slice(count)
            self._rest = rest if len(rest) else None
            count -= len(piece)
            if len(piece):
                yield piece


def _nested(row: dict[str, Any]) -> Statistics:
    found: Statistics = {}
    for name, value in row.items():
        if name.startswith(STATISTICS):
            feature, _, key = name.removeprefix(STATISTICS).rpartition("/")
            found.setdefault(feature, {})[key] = value
    return found
