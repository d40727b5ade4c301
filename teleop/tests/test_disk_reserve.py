"""Disk space that stays reserved for frames."""

from collections import namedtuple

import pytest

from teleop.monitoring import disk_reserve
from teleop.monitoring.disk_reserve import reserve_bytes, shortage

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    "setting, disk, reserve", [(None, 10**12, 2**30), (None, 10**9, 5 * 10**7), (7, 10**9, 7), (0, 10**9, 0)]
)
def test_the_reserve_is_1_gib_or_5_percent_or_the_setting(settings, setting, disk, reserve):
    settings.DISK_RESERVE_BYTES = setting
    assert reserve_bytes(disk) == reserve


def test_an_upload_counts_twice_if_both_files_are_on_one_disk(settings, tmp_path, monkeypatch):
    settings.DISK_RESERVE_BYTES, settings.MEDIA_ROOT = 100, tmp_path / "media" / "none yet"
    monkeypatch.setattr(disk_reserve.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(disk_reserve.shutil, "disk_usage", lambda _: Usage(1000, 0, 300))
    assert shortage(in_temp=100, in_media=100) is None
    assert shortage() is None
    assert shortage(in_temp=101, in_media=100) == (
        "the disk has 300 bytes free, of which 100 are reserved for frames (DISK_RESERVE_BYTES); "
        "this upload needs up to 201 more"
    )
