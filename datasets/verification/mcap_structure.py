"""Check that the statistics and the indexes of an MCAP file agree with its messages."""

from collections import Counter
from pathlib import Path
from typing import Any

from mcap.opcode import Opcode
from mcap.records import Attachment, Channel, ChunkIndex, Message, MessageIndex, Metadata, Schema, Statistics

from datasets.verification.findings import Findings

OPCODE_BYTES, LENGTH_BYTES = 1, 8


class Structure:
    """Collector of the records of one file, in their order."""

    def __init__(self, path: Path, findings: Findings):
        self._path, self._findings = path, findings
        self._messages: Counter[int] = Counter()
        self._indexed: Counter[int] = Counter()
        self._kinds: Counter[type] = Counter()
        self._ids: dict[type, set[int]] = {Schema: set(), Channel: set()}
        self._chunks: list[ChunkIndex] = []
        self._statistics: list[Statistics] = []
        self._begin_ns = self._last_ns = 0

    def add(self, record: Any) -> None:
        match record:
            case Message():
                self._add_message(record)
            case MessageIndex():
                self._indexed[record.channel_id] += len(record.records)
            case ChunkIndex():
                self._chunks.append(record)
            case Statistics():
                self._statistics.append(record)
            case Schema() | Channel():  # they are in the chunks, and once more at the end
                self._ids[type(record)].add(record.id)
            case Metadata() | Attachment():
                self._kinds[type(record)] += 1

    def _add_message(self, message: Message) -> None:
        if not self._messages:
            self._begin_ns = message.log_time
        elif message.log_time < self._last_ns:
            self._findings.add(
                f"{self._path.name}: a message at {message.log_time} ns comes after one at {self._last_ns} ns"
            )
        self._last_ns = message.log_time
        self._messages[message.channel_id] += 1
        if message.publish_time != message.log_time:
            self._findings.add(
                f"{self._path.name}: a message at {message.log_time} ns has publish_time {message.publish_time}"
            )

    def conclude(self) -> None:
        name = self._path.name
        self._findings.compare(f"{name}: the messages of each channel in the index", self._indexed, self._messages)
        if self._findings.compare(f"{name}: the number of statistics records", len(self._statistics), 1):
            self._compare_statistics(self._statistics[0])
        with self._path.open("rb") as file:
            for chunk in self._chunks:
                file.seek(chunk.chunk_start_offset)
                head = file.read(OPCODE_BYTES + LENGTH_BYTES)
                length = int.from_bytes(head[OPCODE_BYTES:], "little") + len(head)
                where = f"{name}: the record at byte {chunk.chunk_start_offset}, of which the index says it is a chunk,"
                self._findings.compare(where, (head[0], length), (int(Opcode.CHUNK), chunk.chunk_length))

    def _compare_statistics(self, found: Statistics) -> None:
        expected = Statistics(
            attachment_count=self._kinds[Attachment],
            channel_count=len(self._ids[Channel]),
            channel_message_counts=dict(self._messages),
            chunk_count=len(self._chunks),
            message_count=self._messages.total(),
            message_end_time=self._last_ns,
            message_start_time=self._begin_ns,
            metadata_count=self._kinds[Metadata],
            schema_count=len(self._ids[Schema]),
        )
        for key, value in vars(expected).items():
            self._findings.compare(f"{self._path.name}: {key} of the statistics", getattr(found, key), value)
