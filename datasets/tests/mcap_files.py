"""MCAP files in tests: what they have, the faults that a verification finds, and copies that have a fault."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap.writer import Writer

from datasets.formats.mcap import McapWriter, file_name
from datasets.options import Options
from datasets.recording.frames import read
from datasets.tests.frozen import manifest_of
from datasets.types import SessionEntry
from datasets.verification import VerificationFailed
from datasets.verification.mcap import verify
from teleop.models import TeleopEvent, TeleopSession
from teleop.tests.recordings import T0


def write(folder: Path, *entries: SessionEntry) -> Path:
    """Write sessions without films, and return the file of the first."""
    with McapWriter(folder, Options(format="mcap")) as writer:
        for entry in entries:
            writer.add_session(entry, read(entry), [])
    return folder / file_name(entries[0])


def report_event(session: TeleopSession, moment=T0, kind="mark", **detail: Any) -> None:
    TeleopEvent.objects.create(session=session, event_id=kind, kind=kind, timestamp=moment, detail=detail)


def records(path: Path, topic: str) -> list[Any]:
    """Return the messages of the topic as the reader has them."""
    with path.open("rb") as file:
        return [message for _, _, message in make_reader(file).iter_messages(topics=[topic])]


def messages(path: Path, topic: str) -> list[tuple[int, int, Any]]:
    """Return time, sequence and content of the messages."""
    return [(message.log_time, message.sequence, json.loads(message.data)) for message in records(path, topic)]


def findings(folder: Path, *entries: SessionEntry) -> str:
    """Return the findings of the verification, a line each."""
    with pytest.raises(VerificationFailed) as failure:
        verify(folder, manifest_of(entries, format="mcap"))
    return "\n".join(failure.value.findings)


def rewrite(path: Path, topic: str = "", change: Callable[[list[Any]], list[Any]] = list, **options: Any) -> None:
    """Copy the file, with the messages of the topic as `change` returns them, by a writer with these options."""
    with path.open("rb") as file:
        reader = make_reader(file)
        found, notes = list(reader.iter_messages()), list(reader.iter_metadata())
    by_topic: dict[str, list[Any]] = {}
    for _, channel, message in found:
        by_topic.setdefault(channel.topic, []).append(message)
    by_topic |= {topic: change(by_topic[topic])} if topic else {}
    schemas = {channel.topic: schema for schema, channel, _ in found}
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start()
        for note in notes:
            writer.add_metadata(note.name, note.metadata)
        channels = {name: _register(writer, name, schemas[name]) for name in by_topic}
        sent = [(message, channels[name]) for name, changed in by_topic.items() for message in changed]
        for message, channel in sorted(sent, key=lambda each: each[0].log_time):
            writer.add_message(channel, message.log_time, message.data, message.publish_time, message.sequence)
        writer.finish()


def _register(writer: Writer, topic: str, schema: Any) -> int:
    return writer.register_channel(topic, "json", writer.register_schema(schema.name, schema.encoding, schema.data))
