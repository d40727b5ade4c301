"""Storage in the admin and in /metrics: the size of recordings, its growth, and the time until the disk is full."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from robots.tests.admin_clients import shown
from teleop.models import TeleopSession
from teleop.monitoring import storage
from teleop.tests.recordings import make_session

pytestmark = pytest.mark.django_db
GB = 10**9


@pytest.fixture(autouse=True)
def _measured_anew():
    cache.clear()
    yield
    cache.clear()


def recorded(days_ago: float, frames: int, video_bytes: int = 0) -> TeleopSession:
    session = make_session(range(3), start=timezone.now() - timedelta(days=days_ago))
    TeleopSession.objects.filter(pk=session.pk).update(frame_count=frames)
    if video_bytes:
        times = {"start_timestamp": 1, "end_timestamp": 2}
        session.videos.create(robot_id="arm", camera_key="front", file_path="none.mp4", size=video_bytes, **times)
    return session


def test_frame_size_is_data_plus_row_overhead():
    make_session(range(3))
    data = len('{"observation":{"shoulder_pan.pos":0.0,"gripper.pos":0},"action":{"gripper.pos":1}}')
    assert storage.frame_bytes() == pytest.approx(storage.OVERHEAD_BYTES[connection.vendor] + data, abs=8)


def test_growth_counts_only_sessions_of_the_last_week():
    recorded(8, frames=10**9, video_bytes=10**12)
    recorded(4, frames=4000, video_bytes=6000)
    recorded(1, frames=4000, video_bytes=2000)
    expected = {"database": 2000 * storage.frame_bytes(), "media": 2000}
    assert storage.growth_a_day() == pytest.approx(expected, rel=0.01)


def test_posters_and_proxies_count():
    recorded(1, frames=4, video_bytes=1000).videos.update(poster_size=20, proxy_size=3)
    recorded(1, frames=4, video_bytes=5000)
    now = storage.measure()
    assert (now.videos, now.video_bytes, now.growth["media"]) == (2, 6023, pytest.approx(6023, rel=0.01))


def test_growth_averages_over_at_least_one_day():
    recorded(1 / 24, frames=240, video_bytes=5)
    assert storage.growth_a_day() == pytest.approx({"database": 240 * storage.frame_bytes(), "media": 5})


def test_days_left_is_that_of_the_disk_that_fills_first(monkeypatch):
    monkeypatch.setattr(storage, "folders", dict)
    assert storage.days_left({"database": 2, "media": 1}, {"database": 10, "media": 7}) == 5
    assert storage.days_left({"database": 2, "media": 1}, {"media": 7}) == 7
    assert storage.days_left({"database": 0, "media": 0}, {"database": 10, "media": 7}) is None


def test_days_left_sums_growth_on_a_shared_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(storage, "folders", lambda: {"database": tmp_path, "media": tmp_path})
    assert storage.days_left({"database": 2, "media": 3}, {"database": 10, "media": 10}) == 2


@pytest.mark.postgresql
def test_free_space_of_postgresql_comes_from_database_disk_bytes(settings):
    assert "database" not in storage.measure().free
    settings.DATABASE_DISK_BYTES = 500 * GB
    now = storage.measure()
    assert now.free["database"] == 500 * GB - now.database_bytes


@pytest.mark.sqlite
def test_free_space_of_sqlite_is_that_of_its_disk():
    now = storage.measure()
    assert now.free.keys() == {"database", "media"}
    assert now.database_bytes > 100_000


def test_it_caches_the_measurement_and_never_counts_frames(django_assert_max_num_queries):
    recorded(1, frames=100)
    with django_assert_max_num_queries(6) as asked:
        assert storage.stored() == storage.stored()
    assert not any("COUNT" in each["sql"] and "teleopframe" in each["sql"] for each in asked.captured_queries)


def test_metrics_show_storage(client):
    recorded(1, frames=100, video_bytes=12345)
    page = client.get("/metrics").content.decode()
    assert "teleop_video_bytes 12345.0" in page
    assert 'teleop_growth_bytes_a_day{of="media"} 1234' in page
    assert "\nteleop_days_left " in page


def test_the_admin_shows_storage_only_with_permission_to_view_sessions(staff_viewer, staff_outsider):
    recorded(1, frames=100, video_bytes=3 * 2**30)
    page = shown(staff_viewer.get("/admin/"))
    assert "Storage: full in " in page
    assert "3.0\xa0GB" in page
    assert 'id="storage"' not in shown(staff_outsider.get("/admin/"))


@pytest.mark.postgresql
def test_the_admin_shows_unknown_free_space_as_not_known(staff_viewer):
    assert "unknown" in shown(staff_viewer.get("/admin/"))
