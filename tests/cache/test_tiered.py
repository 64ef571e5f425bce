"""`Tiered` over a backend of a test's own: what another kind of cache has to bring, and no more."""

from __future__ import annotations

import subprocess
import sys

import pytest
from replies import SECRET, reply, until

from promptguard.cache.contract import Backend, Store
from promptguard.cache.tiered import Tiered
from promptguard.errors import ConfigurationError


class Shelf:
    """Entries that several caches share, as if in a server's memory; `broken` is what every use of it raises."""

    place = "shelf"
    many_readers = meets = False
    rhythm_s = None

    def __init__(self):
        self.entries = {}
        self.mark = 0
        self.broken = None
        self.opened = []

    def open(self, *, check, on_event):
        self.opened.append(check)
        if self.broken is not None:
            raise self.broken
        if check:
            on_event("cache_replaced", "looked through")
        return Connection(self), Connection(self)

    def use(self, option):
        pass

    def is_busy(self, error):
        return isinstance(error, TimeoutError)

    def clear_mark(self):
        return b"%d" % self.mark

    def set_clear_mark(self):
        self.mark += 1
        return self.clear_mark()


class Connection:
    def __init__(self, shelf):
        self._shelf = shelf
        self.closed = False

    def _entries(self):
        if self.closed or self._shelf.broken is not None:
            raise self._shelf.broken or ConnectionError("closed")
        return self._shelf.entries

    def get(self, key):
        return self._entries().get(key)

    def set(self, key, blob):
        self._entries()[key] = blob

    def delete(self, key):
        return self._entries().pop(key, None) is not None

    def clear(self):
        gone = len(self._entries())
        self._entries().clear()
        return gone

    def each(self):
        return list(self._entries().items())

    def close(self):
        self.closed = True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def make(shelf):
    made = []

    def make(**options):
        events = []
        options = {"memory_bytes": 0, "listener": lambda: lambda *e: events.append(e), **options}
        cache = Tiered(shelf, options.pop("secret", SECRET), **options)
        cache.events = events
        made.append(cache)
        assert cache.flush(60.0)
        until(lambda: cache._reading is not None or not cache._circuit.closed)
        return cache

    yield make
    for cache in made:
        cache.close()


def test_the_backend_of_these_tests_is_one(shelf):
    backend: Backend = shelf
    stores: tuple[Store, Store] = backend.open(check=False, on_event=print)
    assert len(stores) == 2


def test_one_cache_finds_what_another_kept(make):
    one, other = make(), make()
    one.put("key", reply())
    assert one.flush(60.0)
    assert other.get("key") == reply()
    assert (one.stats.stores, other.stats.hits) == (1, 1)


def test_memory_answers_before_the_store(make, shelf):
    cache = make(memory_bytes=2**20)
    cache.put("key", reply())
    assert cache.flush(60.0)
    shelf.entries.clear()
    assert cache.get("key") == reply()


def test_what_was_not_written_with_the_secret_is_never_served(make, shelf):
    one, other = make(), make(secret=b"another secret, of sixteen bytes")
    one.put("key", reply())
    assert one.flush(60.0)
    assert other.get("key") is None
    shelf.entries["other"] = shelf.entries["key"]  # moved to another question
    assert one.get("other") is None
    assert (one.stats.tampered, other.stats.tampered) == (1, 1)


def test_entries_with_a_tag_are_cleared_and_other_caches_forget_what_they_hold(make, shelf):
    one, other = make(), make(memory_bytes=2**20, clock=(clock := Clock()))
    for number, tags in enumerate([("a",), ("b",), ()]):
        one.put(f"key{number}", reply(tags=tags))
    assert one.flush(60.0)
    assert all(other.get(f"key{number}") for number in range(3))
    assert one.clear("a")
    assert set(shelf.entries) == {"key1", "key2"}
    clock.now += 2  # it looks once a second whether somebody cleared
    other.get("key1")
    assert other.flush(60.0)
    assert other.get("key0") is None
    assert other.get("key1") == reply(tags=("b",))


def test_a_store_that_breaks_is_left_alone_and_opened_again(make, shelf):
    cache = make(clock=(clock := Clock()))
    cache.put("key", reply())
    assert cache.flush(60.0)
    shelf.broken = OSError("no route")
    assert [cache.get("key") for _ in range(3)] == [None] * 3
    assert cache.events[-1] == ("cache_unavailable", "read: OSError")
    cache.put("other", reply())
    assert cache.flush(60.0)
    assert cache.events[-1] == ("cache_dropped", "store_unavailable")
    shelf.broken = None
    clock.now += 31
    assert cache.get("key") is None  # the probe runs in the background
    until(lambda: cache.events[-1] == ("cache_recovered", "opened again"))
    assert shelf.opened == [False, True]
    assert ("cache_replaced", "looked through") in cache.events
    assert cache.get("key") == reply()


@pytest.mark.parametrize(("error", "opened"), [(TimeoutError(), 3), (OSError("gone"), 1)])
def test_a_busy_store_is_tried_again_with_the_next_jobs(make, shelf, error, opened):
    shelf.broken = error
    cache = Tiered(shelf, SECRET, clock=Clock())
    for number in range(6):
        cache.put(f"key{number}", reply())
        assert cache.flush(60.0)
    assert len(shelf.opened) == opened
    cache.close()


def test_a_short_secret_is_refused(shelf):
    with pytest.raises(ConfigurationError, match="at least 16 bytes"):
        Tiered(shelf, b"short")


def test_another_kind_of_cache_needs_nothing_of_the_disks():
    code = "import sys, promptguard.cache.tiered; print({'sqlite3', 'diskcache'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
