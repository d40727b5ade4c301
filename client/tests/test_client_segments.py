"""The log keeps its records when the process, the machine or the disk fails, and `append` never waits for the disk."""

import contextlib
import errno
import gc
import mmap
import multiprocessing
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from io import FileIO
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from teleop_client import system
from teleop_client.errors import SpoolInUse, SpoolUnusable
from teleop_client.spool import spool_folder
from teleop_client.spool.records import CHECKPOINT_END, HEADER_BYTES, MAGIC, MAX_DATA_BYTES, encode
from teleop_client.spool.segments import Position, SegmentLog
from test_client_system import failing

STATE = 1 << 31
SHORT = -1  # in place of an errno: a part is written before the disk is full


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def open_log(folder):
    """Return a function that opens a log with short intervals; the test's end closes all."""
    with contextlib.ExitStack() as logs:

        def open_log(path=folder, checkpoint=lambda: [(STATE, b"state")], *, start=True, **options):
            options = {"min_free_bytes": 0, "quota_bytes": 1 << 30, "sync_interval_s": 0.005} | options
            log = SegmentLog(path, checkpoint, **options)
            logs.callback(log.close)
            if start:
                log.start()
            return log

        yield open_log


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("teleop_client.spool.segments.CHECK_INTERVAL_S", 0.01)
    monkeypatch.setattr(system, "sync_data", lambda fd: None)
    monkeypatch.setattr(system, "sync_folder", lambda path: None)


@pytest.fixture
def fault(monkeypatch):
    """Return a dict: while it has `write`, `truncate` or `open`, that fails with this errno, or calls it before."""
    faults = {}

    def check(what, argument):
        if callable(fault := faults.get(what)):
            fault(argument)
        elif fault:
            raise OSError(fault, os.strerror(fault))

    class File(FileIO):
        def write(self, data):
            if faults.get("write") == SHORT:
                faults["write"] = errno.ENOSPC
                return super().write(data[: len(data) // 2])
            check("write", data)
            return super().write(data)

        def truncate(self, size):
            check("truncate", size)
            return super().truncate(size)

    def open_file(path, mode, buffering=-1, opener=None):
        check("open", path)
        return File(path, mode, opener=opener) if mode == "ab" else open(path, mode, buffering)

    monkeypatch.setattr(spool_folder, "open", open_file, raising=False)
    return faults


def until(condition, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


def checked(log):
    """Wait until the log has checked the free disk once more, and thus also finished what it did before."""
    check_at = log._check_at
    until(lambda: log._check_at > check_at)
    until(lambda: log._check_at > check_at + 0.01)


def everything(log, max_bytes=1000):
    """Read a log from its begin to its end in steps; return the numbers and data without checkpoints."""
    found, position = [], log.first
    while True:
        records, position = log.read(position, max_bytes)
        if not records:
            return [(record.number, record.data) for record in found if record.number != STATE]
        found += records


def numbers(log):
    return [number for number, _ in everything(log)]


def fork(run):
    """Run a function in a forked child; return its process id. It exits with 1 if the function raises."""
    if pid := os.fork():
        return pid
    try:
        run()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def in_child(run):
    assert os.waitstatus_to_exitcode(os.waitpid(fork(run), 0)[1]) == 0


# Records


def test_it_reads_what_was_appended(open_log):
    log = open_log()
    positions = [log.append(number, b"x" * number) for number in range(100)]
    assert positions == sorted(positions)
    assert everything(log) == [(number, b"x" * number) for number in range(100)]
    records, end = log.read(positions[7], 1)
    assert (records[0].position, records[0].number, end) == (positions[7], 7, positions[8])
    assert log.read(log.end, 1000) == ([], log.end)


def test_it_reads_at_most_so_many_bytes_and_at_least_one_record(open_log):
    log = open_log()
    first = log.append(0, b"x" * 88)
    for number in range(1, 10):
        log.append(number, b"x" * 88)
    assert [len(log.read(first, size)[0]) for size in (1, 199, 200, 299, 5000)] == [1, 1, 2, 2, 10]


def test_it_reads_the_largest_record(open_log):
    log = open_log()
    assert log.append(1, bytes(MAX_DATA_BYTES))
    assert everything(log) == [(1, bytes(MAX_DATA_BYTES))]


@pytest.mark.parametrize("number, size", [(-1, 1), (CHECKPOINT_END, 1), (1 << 32, 1), (1, MAX_DATA_BYTES + 1)])
def test_it_refuses_a_record_that_it_could_not_read(open_log, number, size):
    log = open_log()
    assert log.append(number, bytes(size)) is None
    assert everything(log) == []
    assert log.problem is None


def test_it_goes_on_in_a_new_segment_after_a_restart(open_log):
    first = open_log()
    first.append(1, b"a")
    first.close()
    second = open_log(start=False)
    assert [(record.number, record.data) for record in second.newest()] == [(STATE, b"state"), (1, b"a")]
    second.start()
    second.append(2, b"b")
    assert everything(second) == [(1, b"a"), (2, b"b")]
    assert (second.first.segment, second.end.segment) == (1, 2)


def test_it_begins_each_segment_with_a_checkpoint_in_the_order_of_the_records(open_log):
    numbers_so_far = [-1]
    log = open_log(checkpoint=lambda: [(STATE, b"%d" % numbers_so_far[-1])], segment_bytes=2000)
    for number in range(2000):
        numbers_so_far.append(number)
        log.append(number, b"x" * 20)
        if number % 200 == 0:
            log.sync()
    assert log.end.segment > 5
    found, _ = log.read(log.first, 1 << 20)
    before = -1
    for record in found:
        if record.number == STATE:
            assert int(record.data) in (before, before + 1)  # the checkpoint may come between the two lines above
        else:
            assert record.number == before + 1
            before = record.number
    assert before == 1999


def test_it_appends_from_many_threads_while_segments_change(open_log):
    log = open_log(segment_bytes=5000)
    missed = []

    def write(first):
        missed.extend(number for number in range(first, first + 1000) if log.append(number, b"x" * 50) is None)

    threads = [threading.Thread(target=write, args=(first * 1000,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers(log)) == list(range(4000))
    assert not missed


# Release, quota and free disk


def test_it_deletes_segments_that_are_released_completely(open_log, folder):
    log = open_log(segment_bytes=1000)
    positions = []
    for number in range(60):
        positions.append(log.append(number, b"x" * 100))
        log.sync()
    middle = positions[30]
    log.release(middle)
    until(lambda: log.first.segment == middle.segment)
    assert numbers(log)[0] <= 30
    assert f"{middle.segment:06}.spool" == min(path.name for path in folder.glob("*.spool"))
    assert log.used_bytes == sum(path.stat().st_size for path in folder.glob("*.spool"))
    log.release(log.end)
    until(lambda: log.first.segment == log.end.segment)


def test_it_keeps_the_last_checkpoint_until_the_next_is_on_the_disk(open_log, folder, monkeypatch):
    first = open_log()
    first.append(1, b"a")
    first.close()
    with monkeypatch.context() as patch:
        patch.setattr(system, "sync_data", failing(errno.EIO))
        log = open_log()
        log.release(log.end)
        until(lambda: log.end.segment > 3)
        assert numbers(log)[:1] == [1]
    until(lambda: log.first.segment == log.end.segment)
    assert not (folder / "000001.spool").exists()


def test_it_is_full_at_the_quota_and_goes_on_when_segments_are_released(open_log):
    log = open_log(quota_bytes=20_000, segment_bytes=4000)
    stored = 0
    while log.append(stored, b"x" * 100):
        stored += 1
        log.sync()
    assert log.is_full
    assert log.problem == "the spool has reached its quota"
    assert 15_000 < log.used_bytes <= 20_000
    assert len(everything(log)) == stored
    log.release(log.end)
    until(lambda: not log.is_full)
    assert log.problem is None
    assert log.append(stored, b"x" * 100)


def test_it_goes_on_when_its_only_segment_is_released(open_log):
    log = open_log(quota_bytes=2000)
    while log.append(0, b"x" * 100):
        pass
    log.release(log.end)
    until(lambda: log.append(1, b"x"))
    assert numbers(log) == [1]


def test_it_leaves_the_free_disk_that_others_need(open_log, monkeypatch):
    monkeypatch.setattr(system, "free_bytes", lambda path: 1 << 20)
    log = open_log(min_free_bytes=1 << 20)
    for more in (0, 50_000):  # the log does not go on for a little
        monkeypatch.setattr(system, "free_bytes", lambda path, more=more: (1 << 20) + more)
        checked(log)
        assert log.append(0, b"a") is None
        assert log.is_full
        assert log.problem == "the disk is almost full"
    monkeypatch.setattr(system, "free_bytes", lambda path: (1 << 20) + 100_000)
    until(lambda: log.append(1, b"a"))
    assert not log.is_full
    assert log.problem is None


def test_its_quota_is_half_of_the_free_disk_and_what_it_holds(open_log, monkeypatch):
    log = open_log()
    log.append(0, b"x" * 900)
    log.close()
    monkeypatch.setattr(system, "free_bytes", lambda path: 2000)
    log = open_log(quota_bytes=None)
    stored = 0
    while log.append(0, b"x" * 100):
        stored += 1
    assert stored == 8


# A process that ends


def test_a_killed_process_loses_nothing_that_it_appended(open_log, folder, tmp_path):
    with open(tmp_path / "count", "w+b") as file:
        file.truncate(8)
        appended = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")

        def write():
            log = open_log(segment_bytes=20_000)
            for number in count(appended[0]):
                assert log.append(number, random.randbytes(100))
                appended[0] = number + 1

        for _ in range(6):
            before = appended[0]
            pid = fork(write)
            until(lambda before=before: appended[0] > before)
            time.sleep(random.uniform(0, 0.02))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            log = open_log(start=False)
            found = numbers(log)
            log.close()
            # It may have been killed between `append` and the count of it.
            assert found == list(range(appended[0])) or found == list(range(appended[0] + 1))
            appended[0] = len(found)


def test_a_forgotten_log_does_not_keep_the_interpreter_from_exiting(open_log, folder):
    program = f"""
import sys
from pathlib import Path
from teleop_client.spool.segments import SegmentLog
log = SegmentLog(Path({str(folder)!r}), list, min_free_bytes=0)
log.start()
assert log.append(7, b"seven")
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
    assert everything(open_log()) == [(7, b"seven")]


def test_a_log_that_is_collected_gives_its_lock_back(open_log, folder):
    log = SegmentLog(folder, list, min_free_bytes=0)
    log.start()
    log.append(1, b"a")
    with pytest.warns(ResourceWarning):
        del log
        until(lambda: gc.collect() >= 0 and _can_lock(folder))
    assert numbers(open_log()) == [1]


def _can_lock(folder):
    with open(folder / "lock", "rb") as file:
        return system.lock(file.fileno())


def test_a_power_cut_loses_only_the_records_that_it_cut(open_log, folder):
    log = open_log()
    log.append(0, b"first")
    log.close()
    log = open_log()
    ends = [log.end.offset]
    for number in range(1, 5):
        log.append(number, b"data %d" % number)
        ends.append(log.end.offset)
    log.close()
    path = folder / "000002.spool"
    whole = path.read_bytes()
    for size in range(len(whole)):
        for tail in (b"", bytes(len(whole) - size)):
            path.write_bytes(whole[:size] + tail)
            log = open_log(start=False)
            newest = [record.number for record in log.newest()]
            complete = sum(end <= size for end in ends) - 1
            assert numbers(log) == list(range(max(complete, 0) + 1))
            assert newest == ([STATE, *range(1, complete + 1)] if complete >= 0 else [STATE, 0])
            assert log.damaged_segments == (bool(tail) or (size > len(MAGIC) and size not in _boundaries(whole)))
            log.close()


def _boundaries(whole):
    at = {len(MAGIC)}
    while max(at) < len(whole):
        at.add(max(at) + HEADER_BYTES + int.from_bytes(whole[max(at) : max(at) + 4], "little"))
    return at


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2), st.data())
def test_a_damaged_record_ends_its_segment_only(open_log, tmp_path_factory, segment, data):
    folder = tmp_path_factory.mktemp("damaged")
    for number in range(3):
        log = open_log(folder, start=False)
        log.start()
        ends = [log.append(10 * number + each, b"x" * each).offset + HEADER_BYTES + each for each in range(10)]
        log.close()
    path = folder / f"{segment + 1:06}.spool"
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        log = open_log(folder, start=False)
    except SpoolUnusable:  # the version became a newer one
        assert at == len(MAGIC) - 1
        return
    intact = sum(end <= at for end in ends)
    kept = [number for number in range(30) if number // 10 != segment or number % 10 < intact]
    assert numbers(log) == kept
    assert log.damaged_segments == 1
    log.close()


def test_a_length_that_is_garbage_costs_no_memory(open_log, folder):
    log = open_log()
    log.append(1, b"a")
    log.close()
    with open(folder / "000001.spool", "r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(encode(2, bytes(MAX_DATA_BYTES + 1)))
        file.truncate(10 << 30)
    log = open_log(start=False)
    assert [record.number for record in log.newest()] == [STATE, 1]
    assert numbers(log) == [1]


# Opening


def test_it_opens_a_spool_of_10_gb_without_reading_it(open_log, folder, fault):
    folder.mkdir()
    first = folder / "000001.spool"
    first.write_bytes(MAGIC + encode(STATE, b"") + encode(CHECKPOINT_END, b"") + encode(7, b""))
    os.truncate(first, 8 << 20)
    for number in range(2, 1281):
        os.link(first, folder / f"{number:06}.spool")
    opened = []
    fault["open"] = opened.append
    log = open_log(start=False)
    assert [path.name for path in opened] == ["lock", "001280.spool"]
    assert log.used_bytes == 1280 * (8 << 20)
    assert [record.number for record in log.newest()] == [STATE, 7]


def test_restarts_without_records_leave_no_segments_behind(open_log, folder):
    log = open_log()
    log.append(1, b"a")
    log.close()
    for _ in range(5):
        log = open_log(start=False)
        assert log.newest()[0].data == b"state"
        log.start()
        log.close()
    assert [path.name for path in sorted(folder.glob("*.spool"))] == ["000001.spool", "000006.spool"]
    assert numbers(open_log()) == [1]


def test_its_files_are_private(open_log, folder):
    open_log()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600, 0o600]


def test_it_does_not_touch_the_spool_of_a_newer_version(open_log, folder):
    open_log().close()
    (folder / "000002.spool").write_bytes(b"TELEOPS2")
    (folder / "000003.spool").write_bytes(b"TELE")
    with pytest.raises(SpoolUnusable, match="newer version"):
        open_log()
    assert len(list(folder.glob("*.spool"))) == 3
    assert _can_lock(folder)


def test_it_says_why_a_folder_cannot_be_used(open_log, folder, fault):
    fault["open"] = errno.EROFS
    with pytest.raises(SpoolUnusable, match=r"spool cannot be used: the file system is read-only"):
        open_log()
    folder.rmdir()
    folder.touch()
    with pytest.raises(SpoolUnusable, match="File exists"):
        open_log()


def test_only_one_log_has_a_folder(open_log, folder):
    log = open_log()
    with pytest.raises(SpoolInUse):
        open_log()

    def other_process():
        with pytest.raises(SpoolInUse):
            open_log()

    in_child(other_process)
    log.close()
    open_log()


def test_it_does_not_lock_a_folder_that_its_last_user_removes(open_log, folder, monkeypatch):
    first = open_log()
    removed = []

    def lock(fd):
        if not removed:
            removed.append(first.close(remove=True))
        return real(fd)

    real = system.lock
    monkeypatch.setattr(system, "lock", lock)
    second = open_log()
    with pytest.raises(SpoolInUse):
        open_log()
    assert second.append(1, b"a")
    assert numbers(second) == [1]


def test_it_makes_the_folder_again_if_its_last_user_removes_it(open_log, folder, fault):
    removed = []
    fault["open"] = lambda path: removed or removed.append(folder.rmdir())
    log = open_log()
    assert log.append(1, b"a")
    assert numbers(log) == [1]


# Fork


def test_a_forked_child_leaves_the_log_alone(open_log, folder):
    log = open_log()
    log.append(1, b"a")

    def child():
        assert log.append(2, b"b") is None
        assert log.problem == "the spool belongs to the parent process"
        log.release(log.end)
        log.start()
        log.close(remove=True)

    in_child(child)
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert log.append(3, b"c")
    assert numbers(log) == [1, 3]
    with pytest.raises(SpoolInUse):
        open_log()


def test_the_lock_ends_with_the_parent_while_a_child_lives(open_log):
    log = open_log()
    ours, its = socket.socketpair()
    with ours, its:
        pid = fork(lambda: (its.send(b"I run"), its.recv(1)))
        ours.recv(5)
        log.close()
        again = open_log()
        assert again.append(1, b"a")
        ours.send(b"x")
        os.waitpid(pid, 0)


def test_a_forked_child_can_have_a_log_of_its_own(open_log, tmp_path):
    log = open_log()

    def child():
        own = open_log(tmp_path / "own")
        assert own.append(1, b"a")
        assert own.sync(10)

    in_child(child)
    assert numbers(open_log(tmp_path / "own")) == [1]
    assert log.append(1, b"a")


# Faults of the disk


@pytest.mark.parametrize(
    "fault_kind, words",
    [
        (errno.ENOSPC, "the disk is full"),
        (SHORT, "the disk is full"),
        (errno.EDQUOT, "the user's disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EIO, "the disk reports errors"),
    ],
)
def test_it_goes_on_after_a_fault_of_the_disk(open_log, fault, fault_kind, words):
    log = open_log()
    log.append(0, b"before")
    fault["write"] = fault_kind
    for _ in range(3):
        assert log.append(1, b"during" * 10) is log.append(2, b"during") is None
        assert log.problem == words
        assert not log.is_full
        checked(log)
    fault.clear()
    until(lambda: log.append(3, b"after"))
    assert log.problem is None
    assert everything(log) == [(0, b"before"), (3, b"after")]
    assert log.damaged_segments == 0
    log.close()
    assert everything(open_log()) == [(0, b"before"), (3, b"after")]


def test_it_leaves_a_segment_that_it_cannot_cut(open_log, fault):
    log = open_log()
    log.append(0, b"before")
    fault |= {"write": SHORT, "truncate": errno.EIO}
    assert log.append(1, b"during" * 10) is None
    fault.clear()
    until(lambda: log.append(2, b"after"))
    assert log.end.segment == 2
    assert numbers(log) == [0, 2]


def test_a_file_size_limit_only_makes_more_segments(open_log):
    def child():
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        log = open_log()
        stored = []
        for number in range(200):
            if log.append(number, b"x" * 90):
                stored.append(number)
            else:
                assert log.problem in ("File too large", None)
                until(lambda number=number: log.append(number, b"x" * 90))
                stored.append(number)
        assert numbers(log) == stored
        assert log.end.segment == 5
        assert log.damaged_segments == 0

    in_child(child)


def test_it_starts_on_a_full_disk_and_tries_again(open_log, fault):
    open_log().close()
    log = open_log(start=False)
    fault["write"] = errno.ENOSPC
    log.start()
    assert log.problem == "the disk is full"
    assert log.append(1, b"a") is None
    assert log.sync(10)  # there is nothing to sync
    fault.clear()
    until(lambda: log.append(1, b"a"))
    assert log.problem is None


def test_it_keeps_appending_to_the_segment_if_it_cannot_open_the_next(open_log, fault):
    log = open_log(segment_bytes=1000)
    fault["open"] = errno.EMFILE
    for number in range(100):
        assert log.append(number, b"x" * 50)
    until(lambda: log._retry_at > 0)
    assert log.append(100, b"x" * 50)
    assert log.problem is None
    assert log.end.segment == 1
    fault.clear()
    until(lambda: log.end.segment == 2)
    assert numbers(log) == list(range(101))


def test_it_waits_if_a_process_has_too_many_files_to_read(open_log, monkeypatch):
    log = open_log()
    log.append(1, b"a")

    with monkeypatch.context() as patch:
        patch.setattr("teleop_client.spool.segments.open", failing(errno.EMFILE), raising=False)
        assert log.read(log.first, 1000) == ([], log.first)
    assert numbers(log) == [1]


def test_a_checkpoint_that_raises_does_not_stop_the_thread(open_log, tmp_path):
    def checkpoint():
        raise ZeroDivisionError("no state")

    log, other = open_log(checkpoint=checkpoint), open_log(tmp_path / "other")
    assert log.problem == "ZeroDivisionError: no state"
    assert other.append(1, b"a")
    assert other.sync(10)


def test_an_unexpected_error_of_one_log_does_not_stop_the_thread(open_log, tmp_path, monkeypatch):
    log, other = open_log(), open_log(tmp_path / "other")
    calls = []
    monkeypatch.setattr(log, "_update_room", lambda: calls.append(1) or 1 / 0)
    until(lambda: len(calls) > 2)
    assert other.append(1, b"a")
    assert other.sync(10)


def test_repeated_faults_leave_no_empty_segments(open_log, folder, fault):
    def fail(data):
        if len(data) > 200:
            raise OSError(errno.EIO, "")

    log = open_log()
    fault["write"] = fail
    until(lambda: log.append(1, b"x" * 200) or log.end.segment > 4)
    until(lambda: log.append(2, b"x"))
    until(lambda: len(list(folder.glob("*.spool"))) == 1)
    assert numbers(log) == [2]


def test_it_opens_one_segment_an_interval_at_most_after_faults(open_log, fault, monkeypatch):
    monkeypatch.setattr("teleop_client.spool.segments.CHECK_INTERVAL_S", 60)
    log = open_log()
    synced = []
    monkeypatch.setattr(log, "_sync", lambda: synced.append(1))
    fault["write"] = errno.EIO
    log.append(1, b"a")
    fault.clear()
    until(lambda: len(synced) > 3)
    assert log.end.segment == 1


def test_it_makes_a_new_folder_if_the_folder_is_deleted(open_log, folder):
    log = open_log()
    log.append(1, b"a")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    until(folder.exists)
    until(lambda: log.append(2, b"b") and numbers(log))
    assert numbers(log)[0] == 2
    assert log.damaged_segments == 1
    with pytest.raises(SpoolInUse):
        open_log()


def test_a_deleted_folder_may_belong_to_another_log(open_log, folder):
    log = open_log()
    with log._io:  # or the log would be the first to make a new one
        folder.rename(folder.with_name("moved"))
        other = SegmentLog(folder, list, min_free_bytes=0)
    until(lambda: log.problem and "in use" in log.problem)
    assert log.append(1, b"a") is None
    other.close()
    until(lambda: log.append(1, b"a"))


def test_it_says_that_a_sync_failed_and_goes_on_in_a_new_segment(open_log, monkeypatch):
    log = open_log()
    assert log.sync(10)

    with monkeypatch.context() as patch:
        patch.setattr(system, "sync_data", failing(errno.EIO))
        log.append(1, b"a")
        assert not log.sync(10)
    until(lambda: log.append(2, b"b") and log.end.segment > 1)
    assert not log.sync(10)  # the first may still be lost in a power cut
    assert numbers(log)[:2] == [1, 2]
    log.release(log.end)
    until(lambda: log.sync(10))


# Time


@pytest.fixture
def slow_sync(monkeypatch):
    """Yield two events: the first is set while a sync waits for the second."""
    waiting, goes_on = threading.Event(), threading.Event()

    def sync_data(fd):
        waiting.set()
        assert goes_on.wait(30)

    monkeypatch.setattr(system, "sync_data", sync_data)
    yield waiting, goes_on
    goes_on.set()


def test_a_slow_sync_stops_neither_append_nor_read_nor_release(open_log, slow_sync, tmp_path):
    waiting, goes_on = slow_sync
    log = open_log(start=False, segment_bytes=1000)
    starting = threading.Thread(target=log.start)
    starting.start()
    assert waiting.wait(10)
    for number in range(100):
        assert log.append(number, b"x" * 50)
    assert numbers(log) == list(range(100))
    log.release(log.end)
    assert not log.sync(0.01)
    closing = threading.Thread(target=log.close)
    closing.start()
    until(lambda: log.append(100, b"x") is None)
    assert closing.is_alive()
    goes_on.set()
    closing.join(10)
    starting.join(10)
    assert not closing.is_alive()
    assert log.sync(0)


def test_sync_returns_when_all_before_it_is_on_the_disk(open_log, folder, monkeypatch):
    synced = []

    def sync_data(fd):
        synced.append((os.readlink(f"/proc/self/fd/{fd}"), os.fstat(fd).st_size))

    monkeypatch.setattr(system, "sync_data", sync_data)
    log = open_log(sync_interval_s=60)
    log.append(1, b"a")
    assert log.sync(10)
    assert (str(folder / "000001.spool"), log.end.offset) in synced


def test_it_syncs_by_itself(open_log, folder, monkeypatch):
    sizes = []
    monkeypatch.setattr(system, "sync_data", lambda fd: sizes.append(os.fstat(fd).st_size))
    log = open_log()
    log.append(1, b"a")
    until(lambda: log.end.offset in sizes)


def test_hundreds_of_logs_share_a_thread(open_log, tmp_path):
    logs = [open_log(tmp_path / f"{number}", sync_interval_s=0.05) for number in range(100)]
    for log in logs:
        assert log.append(1, b"a")
    assert all(log.sync(10) for log in logs)
    assert [thread.name for thread in threading.enumerate()].count("teleop-spool") == 1


def test_a_signal_handler_may_append_during_an_append(open_log, fault):
    log = open_log()
    nested = []
    fault["write"] = lambda _: nested.append(log.append(2, b"nested"))
    assert log.append(1, b"a")
    fault.clear()
    assert nested == [None]
    assert log.append(3, b"c")
    assert numbers(log) == [1, 3]


def test_an_interrupted_append_leaves_nothing_behind(open_log, fault):
    log = open_log()
    log.append(1, b"a")

    def interrupt(data):
        FileIO.write(log._segment.file, data[:5])
        raise KeyboardInterrupt

    fault["write"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        log.append(2, b"b")
    fault.clear()
    until(lambda: log.append(3, b"c"))
    log.close()
    log = open_log()
    assert numbers(log) == [1, 3]
    assert log.damaged_segments == 0


# Close


def test_close_syncs_and_unlocks(open_log, monkeypatch):
    sizes = []
    log = open_log(sync_interval_s=60)
    monkeypatch.setattr(system, "sync_data", lambda fd: sizes.append(os.fstat(fd).st_size))
    log.append(1, b"a")
    log.close()
    log.close()
    assert log.end.offset in sizes
    assert log.append(2, b"b") is None
    assert log.problem == "the spool is closed"
    assert numbers(open_log()) == [1]


@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_close_can_remove_the_folder(open_log, folder, monkeypatch, platform):
    log = open_log(segment_bytes=100)
    for number in range(10):
        log.append(number, b"x" * 50)
        log.sync()
    monkeypatch.setattr(sys, "platform", platform)
    log.close(remove=True)
    assert not folder.exists()


def test_it_stays_closed_if_a_segment_is_opened_meanwhile(open_log, fault):
    log = open_log(segment_bytes=500)
    closing = threading.Thread(target=log.close)

    def close(path):
        if not closing.ident:
            closing.start()
            until(lambda: log.problem == "the spool is closed")

    fault["open"] = close
    log.append(1, b"x" * 500)
    until(lambda: closing.ident)
    closing.join(10)
    assert log.append(2, b"b") is None
    assert log.problem == "the spool is closed"
    assert numbers(open_log()) == [1]


def test_it_removes_no_files_of_others(open_log, folder):
    log = open_log()
    (folder / "notes.txt").touch()
    log.close(remove=True)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_positions_are_ordered():
    assert Position(1, 500) < Position(2, 8) < Position(2, 9)
