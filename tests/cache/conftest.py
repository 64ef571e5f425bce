from __future__ import annotations

import pytest
from replies import SECRET, until

from promptguard.cache import redis_server
from promptguard.cache.disk import DiskCache
from promptguard.cache.redis_server import Server
from promptguard.cache.tiered import Tiered
from promptguard.core.options import Cache


@pytest.fixture
def place(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def opened():
    """Wait until a cache is open, or has found that it cannot be; it is closed when the test is done."""
    made = []

    def opened(new, **options):
        events = []
        cache = new(**{"memory_bytes": 0, "listener": lambda: lambda *e: events.append(e), **options})
        cache.events = events
        made.append(cache)
        assert cache.flush(60.0)
        until(lambda: cache._reading is not None or not cache._circuit.closed)
        return cache

    yield opened
    for cache in made:
        cache.close()


@pytest.fixture
def make(place, opened):
    """Make disk caches without a memory tier, so that every get goes to the disk."""

    def make(directory=place, secret=SECRET, **options):
        return opened(lambda **more: DiskCache(directory, secret, **more), **options)

    return make


@pytest.fixture
def make_redis(opened, monkeypatch):
    """Make caches on a server, at an address, without a memory tier; their time is no machine's, but `limit_s`."""

    def make(url, secret=SECRET, ttl=None, limit_s=20.0, **options):
        for name in ("BUDGET_S", "WRITE_S", "OPEN_S"):
            monkeypatch.setattr(redis_server, name, limit_s)
        server = Server(Cache("redis", url=url, ttl=ttl), secret)
        return opened(lambda **more: Tiered(server, secret, **more), **options)

    return make


@pytest.fixture(params=["disk", "valkey"])
def make_any(request):
    """Make caches of one kind that share their entries: each test runs on a disk and on a server."""
    if request.param == "disk":
        return request.getfixturevalue("make")
    make, server = request.getfixturevalue("make_redis"), request.getfixturevalue("valkey")
    return lambda **options: make(server.url, **options)
