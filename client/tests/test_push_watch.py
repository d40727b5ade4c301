"""A folder that is watched: datasets that are being written, that are complete, and that grow."""

import json
import os
import shutil
import signal
import time

import pytest
from push_fixtures import V3_H264, V21_AV1
from teleop_client.push.pushing import Summary
from teleop_client.push.watch import Receipts, Watcher, find_datasets


class Push:
    """Notes what is pushed; `faults` and `is_stopped` are those of the next summaries."""

    def __init__(self):
        self.seen, self.faults, self.is_stopped = [], [], False

    def __call__(self, dataset, done):
        self.seen.append((dataset.name, sorted(done)))
        keys = [f"key-{episode.index}" for episode in dataset.episodes]
        complete = [] if self.faults or self.is_stopped else [key for key in keys if key not in done]
        return Summary(dataset.name, complete=complete, faults=self.faults, is_stopped=self.is_stopped)


@pytest.fixture
def folder(tmp_path):
    (folder := tmp_path / "datasets").mkdir()
    return folder


@pytest.fixture
def push():
    return Push()


@pytest.fixture
def receipts(tmp_path):
    return lambda: Receipts(tmp_path / "state" / ".pushed", "http://server", "arm")


@pytest.fixture
def watcher(folder, push, receipts, shown):
    return Watcher(folder, push, receipts(), shown.append)


@pytest.fixture
def shown():
    return []


def test_it_pushes_a_dataset_once_when_it_no_longer_changes(folder, watcher, push):
    towels = shutil.copytree(V3_H264, folder / "ada" / "towels")
    assert watcher.look()
    (towels / "data" / "more").write_bytes(b"1")
    watcher.look()
    assert push.seen == []
    for _ in range(3):
        watcher.look()
    assert push.seen == [("towels", [])]


def test_it_waits_for_a_footer(folder, watcher, push, shown):
    towels = shutil.copytree(V3_H264, folder / "towels")
    file = towels / "data/chunk-000/file-000.parquet"
    complete = file.read_bytes()
    file.write_bytes(complete[:-8])
    for _ in range(3):
        watcher.look()
    assert push.seen == []
    assert ["is not complete yet" in text for text in shown] == [True]
    file.write_bytes(complete)
    for _ in range(2):
        watcher.look()
    assert push.seen == [("towels", [])]


def test_it_pushes_a_dataset_again_when_it_has_grown(folder, watcher, push):
    towels = shutil.copytree(V21_AV1, folder / "towels")
    for _ in range(3):
        watcher.look()
    os.utime(towels / "meta/info.json")
    for _ in range(3):
        watcher.look()
    assert push.seen == [("towels", []), ("towels", ["key-0", "key-1", "key-2"])]


def test_it_remembers_complete_sessions_after_a_restart(folder, watcher, push, receipts):
    shutil.copytree(V3_H264, folder / "towels")
    for _ in range(2):
        watcher.look()
    again = Watcher(folder, push, receipts(), print)
    for _ in range(2):
        again.look()
    assert push.seen[1] == ("towels", ["key-0", "key-1", "key-2"])
    assert Receipts(receipts()._path, "http://other", "arm").keys == set()
    assert Receipts(receipts()._path, "http://server", "leg").keys == set()


def test_it_tries_again_while_the_server_is_away(folder, watcher, push):
    shutil.copytree(V3_H264, folder / "towels")
    push.faults, push.is_stopped = ["no answer"], True
    assert [watcher.look() for _ in range(3)] == [True, False, False]
    push.faults, push.is_stopped = [], False
    assert [watcher.look() for _ in range(2)] == [True, True]
    assert len(push.seen) == 3


def test_it_leaves_a_broken_dataset_until_it_changes(folder, watcher, push):
    towels = shutil.copytree(V3_H264, folder / "towels")
    push.faults = ["episode 1 is broken"]
    for _ in range(3):
        watcher.look()
    assert len(push.seen) == 1
    os.utime(towels / "meta/info.json")
    for _ in range(2):
        watcher.look()
    assert len(push.seen) == 2


def test_it_reports_an_unusable_dataset_once(folder, watcher, push, shown):
    towels = shutil.copytree(V3_H264, folder / "towels")
    (towels / "meta/info.json").write_text(json.dumps({"codebase_version": "v1.6"}))
    shutil.copytree(V21_AV1, folder / "zebra")
    for _ in range(4):
        watcher.look()
    assert ["cannot be pushed" in text for text in shown] == [True]
    assert push.seen == [("zebra", [])]


def test_it_retries_if_it_cannot_write_the_list_of_pushed_episodes(folder, push, tmp_path, shown):
    (tmp_path / "file").touch()
    watcher = Watcher(folder, push, Receipts(tmp_path / "file" / ".pushed", "http://server", "arm"), shown.append)
    shutil.copytree(V3_H264, folder / "towels")
    assert [watcher.look() for _ in range(3)] == [True, False, False]
    assert ["cannot be pushed now: [Errno 17] File exists" in text for text in shown] == [True]


def test_it_ends_at_sigterm_with_success(watcher, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: signal.raise_signal(signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as caught:
            watcher.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 0


def test_it_finds_datasets_but_follows_no_links(folder, tmp_path):
    for name in ("b/two", "a", "c/d/three"):
        (folder / name / "meta").mkdir(parents=True)
        (folder / name / "meta" / "info.json").touch()
    (folder / "a" / "inside" / "meta").mkdir(parents=True)
    (folder / "a" / "inside" / "meta" / "info.json").touch()
    (folder / "link").symlink_to(folder / "b")
    assert [path.relative_to(folder).as_posix() for path in find_datasets(folder)] == ["a", "b/two", "c/d/three"]
