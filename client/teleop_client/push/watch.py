"""Watch a folder for datasets: push each one when it is complete, and its new episodes when it has grown."""

import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from .dataset import Dataset, DatasetUnfinished, DatasetUnusable, open_dataset
from .pushing import Summary

LOOK_S = 10.0  # a dataset that has not changed since the last look may be complete
RETRY_S = 60.0  # after the server was away, or the disk was full

Push = Callable[[Dataset, Collection[str]], Summary]
Signature = frozenset[tuple[str, int, int]]


class Receipts:
    """The sessions that a server has as a whole, in a file: a restart must not send every film again.

    A line has the server's URL, the robot's id and the session's key.
    """

    def __init__(self, path: Path, url: str, robot_id: str) -> None:
        self._path, self._prefix = path, f"{url} {robot_id} "
        lines = path.read_text().splitlines() if path.exists() else []
        self.keys = {line.removeprefix(self._prefix) for line in lines if line.startswith(self._prefix)}

    def add(self, keys: Collection[str]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.writelines(f"{self._prefix}{key}\n" for key in keys)
        self.keys.update(keys)


class Watcher:
    """Looks at a folder again and again. `show` gets sentences about datasets that cannot be pushed."""

    def __init__(self, folder: Path, push: Push, receipts: Receipts, show: Callable[[str], None]) -> None:
        self._folder, self._push, self._receipts, self._show = folder, push, receipts, show
        self._seen: dict[Path, Signature] = {}  # at the last look
        self._settled: dict[Path, Signature] = {}  # nothing to do until it changes
        self._reported: set[str] = set()

    def run(self) -> None:
        """Look until a signal comes."""
        # systemd sends SIGTERM. Without a handler the film that is being cut would stay in the temporary folder.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        while True:
            time.sleep(LOOK_S if self.look() else RETRY_S)

    def look(self) -> bool:
        """Push the complete datasets; return False to wait longer before the next look."""
        for root in find_datasets(self._folder):
            signature = signature_of(root)
            if signature == self._settled.get(root):
                continue
            if signature != self._seen.get(root):
                self._seen[root] = signature
            elif not self._push_complete(root, signature):
                return False
        return True

    def _push_complete(self, root: Path, signature: Signature) -> bool:
        """Push a dataset if it is complete; return False to try it again."""
        try:
            summary = self._push(open_dataset(root), self._receipts.keys)
            self._receipts.add(summary.complete)
        except DatasetUnfinished as error:
            self._report(f"{root} is not complete yet: {error}")
            return True
        except DatasetUnusable as error:
            self._report(f"{root} cannot be pushed: {error}")
        except OSError as error:
            self._report(f"{root} cannot be pushed now: {error}")
            return False
        else:
            if summary.is_stopped:
                return False
        self._settled[root] = signature
        return True

    def _report(self, text: str) -> None:
        if text not in self._reported:
            self._reported.add(text)
            self._show(text)


def find_datasets(folder: Path) -> Iterator[Path]:
    """Yield the folders that have a meta/info.json, in order of their names; links are not followed."""
    for path, folders, _ in os.walk(folder):
        if Path(path, "meta", "info.json").is_file():
            folders.clear()
            yield Path(path)
        folders.sort()


def signature_of(root: Path) -> Signature:
    """Return names, sizes and times of all files: it changes as long as the dataset is being written."""
    found = set()
    for path, _, files in os.walk(root):
        for name in files:
            try:
                status = os.stat(os.path.join(path, name), follow_symlinks=False)
            except OSError:  # a temporary file
                continue
            found.add((os.path.join(path, name), status.st_size, status.st_mtime_ns))
    return frozenset(found)
