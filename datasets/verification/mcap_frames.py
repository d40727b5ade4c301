"""Compare the messages of frames in an MCAP file with the database.

The messages are in the order of time, and the database is read in the order of frame_index. So each message is kept as
a hash of all that it says, in 16 bytes: a million frames take 64 MB.
"""

from array import array
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from datasets.verification.database import blocks
from datasets.verification.findings import Findings
from datasets.verification.flat import flat

TOPICS = tuple(f"/{part}/{kind}" for part in ("observation", "action", "frame") for kind in ("state", "text"))
MAX_DESCRIBED = 3
Contents = dict[str, dict[str, float | str]]  # by topic, by label


class FrameMessages:
    """Collector of the messages of one file; `values` counts the compared values."""

    def __init__(self, where: str, entry, findings: Findings):
        self._where, self._entry, self._findings = where, entry, findings
        self._found = Digests()
        self.values = 0

    def add(self, topic: str, message: Any) -> None:
        content = self.read(topic, message)
        self.values += len(content)
        self._found.add(topic, message.sequence, message.log_time, content)

    def read(self, topic: str, message: Any) -> dict[str, float | str]:
        """Return the values by their labels."""
        name, item = ("scalars", "value") if topic.endswith("/state") else ("texts", "text")
        pairs = orjson.loads(message.data)[name]
        content = {pair["label"]: pair[item] for pair in pairs}
        if len(content) != len(pairs):
            self._findings.add(f"{self._where}: {topic} of frame {message.sequence} has a label twice")
        return content

    def compare(self, messages: Any) -> int:
        """Compare all messages with the database; return the number of frames.

        `messages()` reads the file once more, which describes messages that differ.
        """
        expected, count = Digests(), 0
        names = _JointNames(self._entry)
        for block in blocks(self._entry.session_id):
            count += len(block)
            for index, time_us, data in block:
                for topic, content in names.apply(_contents(data)).items():
                    expected.add(topic, index, time_us * 1000, content)
        self._findings.compare(f"{self._where}: the number of frames in the database", count, self._entry.frame_count)
        self._findings.compare(f"{self._where}: the number of messages of frames", len(self._found), len(expected))
        different = np.union1d(self._found.indexes_beside(expected), expected.indexes_beside(self._found))
        for index in different[:MAX_DESCRIBED].tolist():
            self._describe(index, names, messages())
        return count

    def _describe(self, index: int, names: "_JointNames", messages: Iterator[tuple[str, Any]]) -> None:
        found = {
            topic: (message.log_time, self.read(topic, message))
            for topic, message in messages
            if message.sequence == index and topic in TOPICS
        }
        rows = (row for block in blocks(self._entry.session_id) for row in block if row[0] == index)
        expected = {
            topic: (time_us * 1000, content)
            for _, time_us, data in rows
            for topic, content in names.apply(_contents(data)).items()
        }
        for topic in sorted({*found, *expected}):
            self._compare_one(f"{self._where}: {topic} of frame {index}", found.get(topic), expected.get(topic))

    def _compare_one(self, where: str, found: Any, expected: Any) -> None:
        if found is None or expected is None:
            self._findings.add(f"{where} is {'missing' if found is None else 'not in the database'}")
            return
        self._findings.compare(f"{where}: its time in ns", found[0], expected[0])
        for label in sorted({*found[1], *expected[1]}):
            values = repr(found[1].get(label)), repr(expected[1].get(label))  # -0.0 equals 0.0, its bits differ
            self._findings.compare(f"{where}: {label}", *values)


class Digests:
    """Hashes of messages, each with its frame_index."""

    def __init__(self) -> None:
        self._indexes, self._digests = array("q"), array("q")

    def __len__(self) -> int:
        return len(self._digests)

    def add(self, topic: str, index: int, time_ns: int, content: dict[str, float | str]) -> None:
        text = orjson.dumps([topic, index, time_ns, content], option=orjson.OPT_SORT_KEYS)
        self._indexes.append(index)
        self._digests.append(hash(text))

    def indexes_beside(self, others: "Digests") -> np.ndarray:
        """Return the indexes of the messages that the others have not."""
        if not len(self):
            return np.empty(0, np.int64)
        is_known = np.isin(np.frombuffer(self._digests, np.int64), np.array(others._digests, np.int64))
        return np.frombuffer(self._indexes, np.int64)[~is_known]


class _JointNames:
    """The names of the joints, which label the numbers of a topic's only list if it is as long."""

    def __init__(self, entry) -> None:
        labels: dict[str, set[str]] = {}
        for block in blocks(entry.session_id) if entry.joint_names else ():
            for _, _, data in block:
                for topic, content in _contents(data).items():
                    labels.setdefault(topic, set()).update(content)
        self._names = {topic: self._named(known, entry.joint_names) for topic, known in labels.items()}

    @staticmethod
    def _named(known: set[str], joint_names: tuple[str, ...]) -> dict[str, str]:
        """Return the new label of each number of the list; none if there are two lists, or two labels were equal."""
        paths = {label: label.split(".") for label in known if label.split(".")[-1].isdecimal()}
        numbers = sorted(int(path[-1]) for path in paths.values())
        if len({tuple(path[:-1]) for path in paths.values()}) != 1 or numbers != [*range(len(joint_names))]:
            return {}
        named = {label: joint_names[int(path[-1])] for label, path in paths.items()}
        return named if len({named.get(label, label) for label in known}) == len(known) else {}

    def apply(self, contents: Contents) -> Contents:
        if not self._names:
            return contents
        return {
            topic: {self._names.get(topic, {}).get(label, label): value for label, value in content.items()}
            for topic, content in contents.items()
        }


def _contents(data: dict[str, Any]) -> Contents:
    """Return the messages that a frame should have."""
    contents: Contents = {}
    for name, value in flat(data).items():
        folder, label = _place(name)
        if type(value) is str:
            contents.setdefault(f"{folder}/text", {})[label] = value
        else:
            contents.setdefault(f"{folder}/state", {})[label] = float(value)
    return contents


@lru_cache(maxsize=2**14)
def _place(name: str) -> tuple[str, str]:
    """Return the folder of the topic, and the label."""
    part, dot, label = name.partition(".")
    return (f"/{part}", label) if part in ("observation", "action") and dot else ("/frame", name)
