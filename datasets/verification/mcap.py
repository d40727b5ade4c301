"""Verify an MCAP export: every value, event and label, every picture and its time, and the indexes of the files."""

import json
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mcap.exceptions import McapError
from mcap.records import Channel, Message, Metadata, Schema
from mcap.stream_reader import CRCValidationError, StreamReader
from zstandard import ZstdError

from datasets.verification.findings import Findings, Verified
from datasets.verification.mcap_frames import TOPICS, FrameMessages
from datasets.verification.mcap_pictures import PictureMessages, camera_topics
from datasets.verification.mcap_structure import Structure

EVENTS = "/events"
PROGRESS_RECORDS = 2**12
READING_SHARE = 0.7  # of the time; then the database is read
SESSION = ("session_id", "key", "robot", "robot_type", "fps", "frame_count", "start_time", "end_time", "units")
LABELS = ("task", "success", "tags", "operator", "note")
UNREADABLE = (McapError, CRCValidationError, ZstdError, struct.error, ValueError, LookupError, TypeError)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def verify(folder: Path, manifest, report: Callable[[float], None] = lambda progress: None) -> Verified:
    """Compare the files with the sessions of the manifest; raises VerificationFailed."""
    findings = Findings()
    paths = [folder / _file_name(entry) for entry in manifest.sessions]
    names = sorted(path.name for path in folder.iterdir())
    findings.compare(f"the list of files in {folder.name}", names, sorted(path.name for path in paths))
    findings.conclude()
    frames = values = pictures = 0
    for number, (path, entry) in enumerate(zip(paths, manifest.sessions, strict=True)):
        file = SessionFile(path, entry, manifest.options, findings)
        for share in file.compare():
            report((number + share) / len(paths))
        findings.conclude()
        frames, values, pictures = frames + file.frames, values + file.values, pictures + file.pictures
    return Verified(frames, values, pictures, len(paths))


def _file_name(entry) -> str:
    digits = entry.start_time[:19].replace("-", "").replace(":", "")
    return f"{digits}Z_{entry.robot}_{entry.session_id}.mcap"


class SessionFile:
    """The file of one session, which is read once, from its first record to its last."""

    def __init__(self, path: Path, entry, options, findings: Findings):
        self._path, self._entry, self._findings = path, entry, findings
        self._size, self._share = path.stat().st_size, 0.0
        self._structure = Structure(path, findings)
        self._messages = FrameMessages(path.name, entry, findings)
        self._cameras = {
            topic: PictureMessages(f"{path.name}: {topic}", source, findings)
            for topic, source in camera_topics(entry, options, findings).items()
        }
        self._channels: dict[int, Channel] = {}
        self._schemas: dict[int, Schema] = {}
        self._events: list[tuple[int, Any]] = []
        self._metadata: list[tuple[str, dict[str, str]]] = []
        self.frames = self.values = self.pictures = 0

    def compare(self) -> Iterator[float]:
        """Compare everything, and yield the progress from time to time."""
        try:
            for number, record in enumerate(self._records()):
                self._add(record)
                if number % PROGRESS_RECORDS == 0:
                    yield self._share
        except UNREADABLE as error:
            self._findings.add(f"{self._path.name} cannot be read: {error!r:.200}")
            return
        self._structure.conclude()
        self._findings.compare(f"{self._path.name}: the metadata", self._metadata, _metadata_of(self._entry))
        self._findings.compare(f"{self._path.name}: the events", self._events, _events_of(self._entry))
        self.frames, self.values = self._messages.compare(self._topic_messages), self._messages.values
        self.pictures = sum(camera.conclude() for camera in self._cameras.values())
        yield 1.0

    def _records(self) -> Iterator[Any]:
        with self._path.open("rb") as file:
            for record in StreamReader(file, validate_crcs=True).records:
                yield record
                self._share = READING_SHARE * file.tell() / self._size

    def _topic_messages(self) -> Iterator[tuple[str, Message]]:
        for record in self._records():
            if isinstance(record, Message):
                yield self._channels[record.channel_id].topic, record

    def _add(self, record: Any) -> None:
        self._structure.add(record)
        match record:
            case Schema():
                self._schemas[record.id] = record
            case Channel() if record.id not in self._channels:
                self._add_channel(record)
            case Metadata():
                self._metadata.append((record.name, dict(record.metadata)))
            case Message():
                self._add_message(self._channels[record.channel_id].topic, record)

    def _add_channel(self, channel: Channel) -> None:
        self._channels[channel.id] = channel
        schema, topic = self._schemas[channel.schema_id], channel.topic
        kind = topic.rpartition("/")[2]
        names = {"state": "lerobot.Scalars", "text": "teleop.Texts", "events": "teleop.Event"}
        expected = "foxglove.CompressedVideo" if topic in self._cameras else names.get(kind, "no such topic")
        found = (schema.name, schema.encoding, json.loads(schema.data).get("title"), channel.message_encoding)
        self._findings.compare(
            f"{self._path.name}: the schema of {topic}", found, (expected, "jsonschema", expected, "json")
        )

    def _add_message(self, topic: str, message: Message) -> None:
        if topic in self._cameras:
            self._cameras[topic].add(message)
        elif topic in TOPICS:
            self._messages.add(topic, message)
        elif topic == EVENTS:
            self._events.append((message.log_time, json.loads(message.data)))
        else:
            raise ValueError(f"a message of the topic {topic}")


def _metadata_of(entry) -> list[tuple[str, dict[str, str]]]:
    split = {"split": "validation" if entry.is_validation else "train"}
    return [
        ("session", _texts({name: getattr(entry, name) for name in SESSION} | split)),
        ("labels", _texts({name: getattr(entry, name) for name in LABELS} | {"tags": list(entry.tags)})),
        ("quality", _texts(entry.quality)),
        *(("mark", _texts(mark)) for mark in entry.marks),
    ]


def _texts(values: dict[str, Any]) -> dict[str, str]:
    given = {name: value for name, value in values.items() if value is not None}
    return {
        name: value if type(value) is str else json.dumps(value, ensure_ascii=False) for name, value in given.items()
    }


def _events_of(entry) -> list[tuple[int, Any]]:
    """Return the events of the session's robot, with their times in ns."""
    from teleop.models import TeleopEvent

    events = TeleopEvent.objects.filter(session_id=entry.session_id)
    return [
        (
            (event.timestamp - EPOCH) // timedelta(microseconds=1) * 1000,
            {"event_id": event.event_id, "kind": event.kind, "detail": event.detail},
        )
        for event in sorted(events, key=lambda event: (event.timestamp, event.event_id))
    ]
