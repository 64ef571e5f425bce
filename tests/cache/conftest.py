from __future__ import annotations

import pytest
from replies import SECRET, until

from promptguard.cache.disk import DiskCache


@pytest.fixture
def place(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def make(place):
    """Make disk caches without a memory tier, so that every get goes to the disk."""
    made = []

    def make(directory=place, secret=SECRET, **options):
        events = []
        listener = lambda: lambda *e: events.append(e)  # noqa: E731
        cache = DiskCache(directory, secret, **{"memory_bytes": 0, "listener": listener, **options})
        cache.events = events
        made.append(cache)
        assert cache.flush(60.0)
        until(lambda: cache._reading is not None or not cache._circuit.closed)
        return cache

    yield make
    for cache in made:
        cache.close()
