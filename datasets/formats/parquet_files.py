"""Parquet files that follow each other: a new one is begun before the current one grows above a limit."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


class ParquetFiles:
    """Writes each table as one row group, so that a reader can fetch one episode; file numbers count from 0."""

    def __init__(self, path_of: Callable[[int], Path], schema: pa.Schema, max_bytes: int):
        self._path_of, self._schema, self._max_bytes = path_of, schema, max_bytes
        self.number = 0
        self._rows = 0  # of the current file
        self._sink: pa.NativeFile | None = None
        self._writer: pq.ParquetWriter | None = None

    def place(self, rows: int) -> int:
        """Return the number of the file for the next `rows` rows, after having closed one that has no room for them."""
        if self._sink and self._sink.tell() * (self._rows + rows) / self._rows >= self._max_bytes:
            self.close()
            self.number += 1
        return self.number

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._open()
        self._writer.write_table(table, row_group_size=len(table))
        self._rows += len(table)

    def close(self) -> None:
        if self._writer:
            self._writer.close()
            self._sink.close()
        self._writer = self._sink = None
        self._rows = 0

    def _open(self) -> None:
        path = self._path_of(self.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression="snappy", use_dictionary=True)
