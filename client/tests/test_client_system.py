"""The calls that differ between systems. Those of macOS and Windows are substituted, as only Linux runs the tests."""

import errno
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from teleop_client import system


@pytest.fixture
def on(monkeypatch):
    """Return a function that loads the module as on another system, with substitutes for that system's modules."""

    def load(platform, **modules):
        monkeypatch.setattr(sys, "platform", platform)
        for name, module in {"msvcrt": SimpleNamespace(), **modules}.items():
            monkeypatch.setitem(sys.modules, name, module)
        spec = importlib.util.spec_from_file_location("system_elsewhere", system.__file__)
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return loaded

    return load


@pytest.fixture
def fd(tmp_path):
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def failing(code):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    return fail


def test_it_has_a_clock_that_runs_while_the_machine_is_suspended(on, monkeypatch):
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= system.elapsed_s() <= time.clock_gettime(time.CLOCK_BOOTTIME)
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_MONOTONIC: 7.5}.get)
    assert on("darwin").elapsed_s() == 7.5
    monkeypatch.setattr(time, "perf_counter", lambda: 8.5)
    assert on("win32").elapsed_s() == 8.5


def test_it_reads_both_clocks_at_one_moment(monkeypatch):
    elapsed = iter([0.0, 3.0, 10.0, 10.5, 20.0, 20.0005])
    wall = iter([1000.0, 1010.25, 1020.25])
    monkeypatch.setattr(system, "elapsed_s", lambda: next(elapsed))
    monkeypatch.setattr(system.time, "time", lambda: next(wall))
    assert system.wall_and_elapsed() == (1020.25, 20.00025)


def test_it_takes_the_best_reading_if_the_process_is_always_interrupted(monkeypatch):
    elapsed = iter([0.0, 3.0, 10.0, 10.5, 20.0, 22.0, 30.0, 32.0, 40.0, 42.0])
    wall = iter([1000.0, 1010.0, 1020.0, 1030.0, 1040.0])
    monkeypatch.setattr(system, "elapsed_s", lambda: next(elapsed))
    monkeypatch.setattr(system.time, "time", lambda: next(wall))
    assert system.wall_and_elapsed() == (1010.0, 10.25)


def test_it_has_an_id_of_the_boot(on, monkeypatch):
    assert len(system.boot_id()) == 36
    assert system.boot_id() == system.boot_id()
    monkeypatch.setattr(subprocess, "run", lambda command, **_: SimpleNamespace(stdout=f"{command[-1]}\n"))
    assert on("darwin").boot_id() == "kern.bootsessionuuid"
    assert on("win32").boot_id() is None


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_it_has_no_id_of_the_boot_if_it_cannot_be_read(platform, on, monkeypatch):
    monkeypatch.setattr(Path, "read_text", failing(errno.EACCES))
    monkeypatch.setattr(subprocess, "run", failing(errno.ENOENT))
    assert on(platform).boot_id() is None


def test_it_locks_a_file_until_it_is_closed(tmp_path, fd):
    assert system.lock(fd)
    other = os.open(tmp_path / "file", os.O_RDWR)
    assert not system.lock(other)
    os.close(other)
    first = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    assert system.lock(first)
    os.close(first)
    again = os.open(tmp_path / "other", os.O_RDWR)
    assert system.lock(again)
    os.close(again)


def test_it_raises_if_a_file_system_has_no_locks(fd, monkeypatch):
    monkeypatch.setattr(system.fcntl, "flock", failing(errno.ENOLCK))
    with pytest.raises(OSError, match="No locks available"):
        system.lock(fd)


def test_it_locks_the_first_byte_on_windows(on, fd):
    calls = []
    msvcrt = SimpleNamespace(LK_NBLCK=2, locking=lambda *call: calls.append((*call, os.lseek(fd, 0, os.SEEK_CUR))))
    os.write(fd, b"x")
    assert on("win32", msvcrt=msvcrt).lock(fd)
    assert calls == [(fd, 2, 1, 0)]
    for code in (errno.EACCES, errno.EDEADLK):
        msvcrt.locking = failing(code)
        assert not on("win32", msvcrt=msvcrt).lock(fd)


def test_it_syncs_data_with_the_call_of_the_system(on, fd, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: calls.append("fdatasync"))
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append("fsync"))
    fcntl = SimpleNamespace(F_FULLFSYNC=51, fcntl=lambda fd, command: calls.append(command))
    system.sync_data(fd)
    on("win32").sync_data(fd)
    on("darwin", fcntl=fcntl).sync_data(fd)
    fcntl.fcntl = failing(errno.ENOTSUP)
    on("darwin", fcntl=fcntl).sync_data(fd)
    assert calls == ["fdatasync", "fsync", 51, "fsync"]


def test_it_syncs_a_folder_where_the_system_can(on, tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    system.sync_folder(tmp_path)
    assert synced == [str(tmp_path)]
    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
    system.sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        system.sync_folder(tmp_path)
    on("win32").sync_folder(tmp_path)


def test_it_knows_the_free_disk(tmp_path):
    disk = os.statvfs(tmp_path)
    assert abs(system.free_bytes(tmp_path) - disk.f_bavail * disk.f_frsize) < 1 << 30
