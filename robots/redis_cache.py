import logging
import time
from functools import cache

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

logger = logging.getLogger(__name__)

TIMEOUT_S = 0.3
RETRY_S = 5


@cache
def redis_cache(url: str) -> RedisCache:
    """Return one cache per process: under ASGI Django creates a cache for every request, and each would reconnect."""
    timeouts = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S, "retry": Retry(NoBackoff(), 0)}
    return RedisCache(url, {"OPTIONS": timeouts})


class RedisOrLocalCache(BaseCache):
    """Cache in Redis for counts of all workers together; while Redis is unreachable each worker counts by itself.

    So requests do not fail without Redis, and wait for it at most 0.3 s in 5 s.
    """

    _away_until = 0.0

    def __init__(self, url: str, params: dict):
        super().__init__(params)
        self._redis = redis_cache(url)
        self._local = LocMemCache("while-redis-is-away", {"OPTIONS": {"MAX_ENTRIES": 100_000}})

    def _ask(self, operation: str, *args, **kwargs):
        if time.monotonic() >= RedisOrLocalCache._away_until:
            try:
                return getattr(self._redis, operation)(*args, **kwargs)
            except RedisError as error:
                RedisOrLocalCache._away_until = time.monotonic() + RETRY_S
                logger.warning("Redis is unreachable; until it answers, this process counts by itself: %s", error)
        return getattr(self._local, operation)(*args, **kwargs)

    def add(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        return self._ask("add", key, value, timeout, version)

    def get(self, key, default=None, version=None):
        return self._ask("get", key, default, version)

    def set(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        return self._ask("set", key, value, timeout, version)

    def touch(self, key, timeout=DEFAULT_TIMEOUT, version=None):
        return self._ask("touch", key, timeout, version)

    def delete(self, key, version=None):
        return self._ask("delete", key, version)

    def incr(self, key, delta=1, version=None):
        return self._ask("incr", key, delta, version)

    def clear(self):
        return self._ask("clear")
