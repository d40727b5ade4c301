"""Disk space that stays reserved for frames."""

from collections import namedtuple

import pytest

from robots.tests.admin_clients import shown
from teleop.monitoring import checks, disk_reserve, health
from teleop.monitoring.disk_reserve import reserve_bytes, shortage

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    "setting, disk, reserve", [(None, 10**12, 2**31), (None, 10**9, 5 * 10**7), (7, 10**9, 7), (0, 10**9, 0)]
)
def test_the_reserve_is_2_gib_or_5_percent_or_the_setting(settings, setting, disk, reserve):
    settings.DISK_RESERVE_BYTES = setting
    assert reserve_bytes(disk) == reserve


def test_an_upload_counts_twice_if_both_files_are_on_one_disk(settings, tmp_path, monkeypatch):
    settings.DISK_RESERVE_BYTES, settings.MEDIA_ROOT = 100, tmp_path / "media" / "none yet"
    monkeypatch.setattr(disk_reserve.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(disk_reserve.shutil, "disk_usage", lambda _: Usage(1000, 0, 300))
    assert shortage(in_temp=100, in_media=100) is None
    assert shortage() is None
    assert shortage(in_temp=101, in_media=100) == (
        "the disk has 300 bytes free, of which 100 are reserved for frames (DISK_RESERVE_BYTES); up to 201 are needed"
    )


@pytest.fixture
def nearly_full(settings, tmp_path, monkeypatch) -> str:
    """Leave less than the reserve free; return the reason."""
    settings.DISK_RESERVE_BYTES, settings.MEDIA_ROOT = 100, tmp_path
    monkeypatch.setattr(disk_reserve.shutil, "disk_usage", lambda _: Usage(1000, 0, 99))
    return "the disk has 99 bytes free, of which 100 are reserved for frames (DISK_RESERVE_BYTES)"


def test_background_work_stops_while_less_than_the_reserve_is_free(nearly_full):
    assert shortage() == nearly_full


@pytest.mark.django_db(transaction=True)
def test_health_says_that_uploads_are_stopped_and_stays_ok(nearly_full, client, monkeypatch):
    monkeypatch.setattr(health, "disk", health.Probe(health.check_disk))
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json()["disk"] == f"uploads, posters, proxies and exports are stopped: {nearly_full}"


@pytest.mark.django_db
def test_doctor_says_that_uploads_are_stopped(nearly_full):
    finding = checks.disk()
    assert (finding.verdict, finding.id) == (checks.Verdict.WARNING, "teleop.W017")
    assert finding.what.endswith(f"; uploads, posters, proxies and exports are stopped: {nearly_full}")


@pytest.mark.django_db
def test_the_admin_says_that_uploads_are_stopped(nearly_full, staff_viewer):
    page = shown(staff_viewer.get("/admin/"))
    assert f"Uploads, posters, proxies and exports are stopped: {nearly_full}. Frames are stored." in page


@pytest.mark.django_db
def test_nothing_says_so_while_there_is_room(settings, client, staff_viewer, monkeypatch):
    settings.DISK_RESERVE_BYTES = 0
    monkeypatch.setattr(health, "disk", health.Probe(health.check_disk))
    assert client.get("/health").json()["disk"] == "ok"
    assert "are stopped" not in shown(staff_viewer.get("/admin/")) + checks.disk().what
