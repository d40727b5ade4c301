"""The counts that workers share: in Redis, and in each process while Redis is unavailable."""

import time

import pytest

from robots.api.throttling import count
from robots.redis_cache import RETRY_S, TIMEOUT_S, RedisOrLocalCache
from tests.services import redis

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def service():
    with redis() as service:
        yield service


@pytest.fixture
def shared(service, monkeypatch):
    """Yield a function that makes a cache as one request has it; each request has its own."""
    monkeypatch.setattr(RedisOrLocalCache, "_away_until", 0.0)
    yield lambda: RedisOrLocalCache(service.url, {})
    service.thaw()
    shared_now = RedisOrLocalCache(service.url, {})
    monkeypatch.setattr(RedisOrLocalCache, "_away_until", 0.0)
    shared_now.clear()
    shared_now._local.clear()


def test_requests_share_a_counter_in_redis(shared, monkeypatch):
    monkeypatch.setattr("robots.api.throttling.cache", shared())
    assert [count("key", 60) for _ in range(3)] == [1, 2, 3]
    assert shared().get("key") == 3


def test_it_counts_locally_after_one_timeout_of_redis(shared, service, monkeypatch):
    monkeypatch.setattr("robots.api.throttling.cache", shared())
    service.freeze()
    begin = time.monotonic()
    assert [count("key", 60) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert time.monotonic() - begin < 5 * TIMEOUT_S


def test_it_retries_redis_after_the_retry_interval(shared, monkeypatch):
    monkeypatch.setattr(RedisOrLocalCache, "_away_until", time.monotonic() + RETRY_S)
    shared().set("key", "here", 60)
    assert (shared().get("key"), shared()._redis.get("key")) == ("here", None)
    monkeypatch.setattr(RedisOrLocalCache, "_away_until", time.monotonic())
    shared().set("key", "there", 60)
    assert shared()._redis.get("key") == "there"


def test_it_reuses_redis_connections(shared, service):
    for _ in range(20):
        shared().get("key")
    assert shared()._redis._cache.get_client(None).info("clients")["connected_clients"] <= 3
