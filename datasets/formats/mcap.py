"""Write sessions as MCAP, one file each, as they were recorded: no grid, and all times are wall-clock times.

Topics and labels are those of LeRobot's display in Foxglove. docs/datasets.md lists all topics and metadata.
"""

import heapq
import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from mcap.writer import Writer

from datasets.films.annexb import packets
from datasets.formats.kinds import as_numbers, has_texts
from datasets.formats.mcap_schemas import COMPRESSED_VIDEO, EVENT, SCALARS, TEXTS
from datasets.options import Options
from datasets.recording.events import Event, events_of
from datasets.types import Camera, Recording, SessionEntry

BLOCK_FRAMES = 4096  # converted to values of Python at once
FOLDERS = {"observation": "/observation", "action": "/action"}
OTHER_FOLDER = "/frame"  # for values of a frame that belong to neither
EVENTS_TOPIC = "/events"
IMAGES_FOLDER, IMAGES_KEY = "/observation/images", "observation.images."


class Topic(NamedTuple):
    """The columns of one topic by their labels: float64 with NaN for numbers, object with None for texts."""

    name: str
    schema: dict[str, Any]
    columns: dict[str, np.ndarray]


class Message(NamedTuple):
    time_us: int
    channel_id: int
    sequence: int
    data: bytes


class McapWriter:
    """Write each session to `<start>_<robot>_<session id>.mcap` in the folder, in the order of time.

    Memory is bounded: a chunk of 1 MiB, a block of frames, and a packet of each camera.
    """

    def __init__(self, folder: Path, options: Options):
        self._folder = folder

    def __enter__(self) -> "McapWriter":
        return self

    def __exit__(self, *exception) -> None:
        """Do nothing: each file is complete when add_session returns."""

    def add_session(self, entry: SessionEntry, recording: Recording, cameras: Sequence[Camera]) -> None:
        with (self._folder / file_name(entry)).open("xb") as file:
            writer = Writer(file, enable_data_crcs=True)  # zstd, chunks of 1 MiB, statistics, all indexes
            writer.start(library="LeRobot Backend")
            for name, data in metadata_of(entry):
                writer.add_metadata(name, data)
            for message in heapq.merge(*_streams(writer, entry, recording, cameras), key=lambda each: each.time_us):
                time_ns = message.time_us * 1000
                writer.add_message(message.channel_id, time_ns, message.data, time_ns, message.sequence)
            writer.finish()


def file_name(entry: SessionEntry) -> str:
    start = datetime.fromisoformat(entry.start_time)
    return f"{start:%Y%m%dT%H%M%SZ}_{entry.robot}_{entry.session_id}.mcap"


def metadata_of(entry: SessionEntry) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the metadata records: `session`, `labels`, `quality`, and one `mark` for each mark in the manifest."""
    names = ("session_id", "key", "robot", "robot_type", "fps", "frame_count", "start_time", "end_time", "units")
    split = "validation" if entry.is_validation else "train"
    yield "session", _as_texts({name: getattr(entry, name) for name in names} | {"split": split})
    yield "labels", _as_texts({name: getattr(entry, name) for name in ("task", "success", "tags", "operator", "note")})
    yield "quality", _as_texts(entry.quality)
    for mark in entry.marks:
        yield "mark", _as_texts(mark)


def _as_texts(values: dict[str, Any]) -> dict[str, str]:
    """Return texts as they are and other values as JSON, without the missing values."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in sorted(values.items())
        if value is not None
    }


def _streams(
    writer: Writer, entry: SessionEntry, recording: Recording, cameras: Sequence[Camera]
) -> list[Iterator[Message]]:
    """Register all channels, and return the messages of each, sorted by time."""
    streams = []
    for topic in topics_of(recording, entry.joint_names):
        streams.append(_frame_messages(recording, topic, _channel(writer, topic.name, topic.schema)))
    for camera, name in zip(cameras, image_topics([camera.key for camera in cameras]), strict=True):
        streams.append(_picture_messages(camera, _channel(writer, name, COMPRESSED_VIDEO)))
    if events := events_of(entry.session_id):
        streams.append(_event_messages(events, _channel(writer, EVENTS_TOPIC, EVENT)))
    return streams


def _channel(writer: Writer, topic: str, schema: dict[str, Any]) -> int:
    schema_id = writer.register_schema(schema["title"], "jsonschema", json.dumps(schema).encode())
    return writer.register_channel(topic, "json", schema_id)


def topics_of(recording: Recording, joint_names: Sequence[str]) -> list[Topic]:
    """Sort the columns into topics: of the observation, of the action and others, numbers apart from texts.

    True and false are 1 and 0, as LeRobot displays them.
    """
    topics: dict[str, Topic] = {}
    for column, values in recording.columns.items():
        part, _, label = column.partition(".")
        folder = FOLDERS.get(part) if label else None
        is_text = has_texts(values)
        name = f"{folder or OTHER_FOLDER}/{'text' if is_text else 'state'}"
        topic = topics.setdefault(name, Topic(name, TEXTS if is_text else SCALARS, {}))
        topic.columns[label if folder else column] = values if is_text else as_numbers(values)
    return [_with_joint_names(topic, joint_names) for topic in topics.values()]


def _with_joint_names(topic: Topic, joint_names: Sequence[str]) -> Topic:
    """Label the numbers of a list with the names of the joints, if the topic has one list and it is as long."""
    listed = {label: label.rpartition(".")[2] for label in topic.columns if label.rpartition(".")[2].isdecimal()}
    lists = {label.rpartition(".")[0] for label in listed}
    if len(lists) != 1 or sorted(map(int, listed.values())) != list(range(len(joint_names))):
        return topic
    names = {label: joint_names[int(number)] for label, number in listed.items()}
    columns = {names.get(label, label): values for label, values in topic.columns.items()}
    return topic._replace(columns=columns) if len(columns) == len(topic.columns) else topic


def image_topics(keys: Sequence[str]) -> list[str]:
    """Return the topics of cameras as LeRobot names them, with `_` for dots; with dots where two would be the same."""
    names = [key.removeprefix(IMAGES_KEY) for key in keys]
    safe = [name.replace(".", "_") for name in names]
    return [f"{IMAGES_FOLDER}/{new if safe.count(new) == 1 else old}" for old, new in zip(names, safe, strict=True)]


def _frame_messages(recording: Recording, topic: Topic, channel_id: int) -> Iterator[Message]:
    """Yield a message for each frame that has a value of the topic; its sequence is the frame_index."""
    (item, name), labels = (("value", "scalars") if topic.schema is SCALARS else ("text", "texts")), list(topic.columns)
    for times_us, indexes, rows in _blocks(recording, list(topic.columns.values())):
        for time_us, index, row in zip(times_us, indexes, rows, strict=True):
            pairs = [
                {"label": label, item: value}
                for label, value in zip(labels, row, strict=True)
                if value is not None and value == value  # NaN: the frame has no value
            ]
            if pairs:
                yield Message(time_us, channel_id, index, orjson.dumps({name: pairs}))


def _blocks(
    recording: Recording, columns: Sequence[np.ndarray]
) -> Iterator[tuple[list[int], list[int], Iterable[tuple]]]:
    for begin in range(0, len(recording.indexes), BLOCK_FRAMES):
        block = slice(begin, begin + BLOCK_FRAMES)
        rows = zip(*(column[block].tolist() for column in columns), strict=True)
        yield recording.times_us[block].tolist(), recording.indexes[block].tolist(), rows


def _picture_messages(camera: Camera, channel_id: int) -> Iterator[Message]:
    name = camera.key.removeprefix(IMAGES_KEY)
    for sequence, (time_us, data, _) in enumerate(packets(camera)):
        second, microsecond = divmod(int(time_us), 1_000_000)
        message = {
            "timestamp": {"sec": second, "nsec": microsecond * 1000},
            "frame_id": name,
            "data": b64encode(data).decode(),
            "format": "h264",
        }
        yield Message(int(time_us), channel_id, sequence, orjson.dumps(message))


def _event_messages(events: Iterable[Event], channel_id: int) -> Iterator[Message]:
    for sequence, event in enumerate(events):
        content = {"event_id": event.event_id, "kind": event.kind, "detail": event.detail}
        yield Message(
            event.time_us, channel_id, sequence, json.dumps(content, ensure_ascii=False, sort_keys=True).encode()
        )
