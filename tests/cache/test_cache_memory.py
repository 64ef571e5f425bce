from __future__ import annotations

import os
import threading
import tracemalloc

import pytest
from replies import reply

from promptguard.cache.memory import ENTRY_OVERHEAD, MemoryCache
from promptguard.core.model import StoredReply


def test_it_keeps_what_was_used_last_within_its_bytes():
    one = reply(b"x" * 1000)
    cache = MemoryCache(max_bytes=3 * (one.size + 1 + ENTRY_OVERHEAD))
    for key in "abc":
        cache.put(key, one)
    assert cache.get("a") is one
    cache.put("d", one)
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    assert cache.size == 3 * (one.size + 1 + ENTRY_OVERHEAD)
    cache.put("a", reply(b""))
    assert cache.size < 3 * (one.size + 1 + ENTRY_OVERHEAD)
    assert cache.get("a") == reply(b"")


def test_what_is_too_large_is_not_kept_and_replaces_nothing_but_itself():
    cache = MemoryCache(max_bytes=2_000)
    cache.put("a", reply())
    cache.put("b", reply(b"x" * 5_000))
    assert cache.get("a") is not None
    cache.put("a", reply(b"x" * 5_000))
    assert cache.get("a") is None
    assert (cache.stats.hits, cache.stats.misses, cache.stats.stores, cache.stats.dropped) == (1, 1, 1, 2)
    assert cache.size == len(cache) == 0


def test_clear_and_close_forget():
    cache = MemoryCache()
    cache.put("a", reply())
    cache.clear()
    assert cache.get("a") is None
    assert cache.size == 0


def test_threads_never_lose_count():
    cache = MemoryCache(max_bytes=20_000)

    def run(number):
        for at in range(2_000):
            cache.put(f"{(number * 7 + at) % 50}", reply(b"x" * (at % 300)))
            cache.get(f"{at % 50}")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    [each.start() for each in threads]
    [each.join() for each in threads]
    assert cache.stats.hits + cache.stats.misses == cache.stats.stores == 12_000
    assert 0 < cache.size <= 20_000
    for number in range(50):
        cache.put(f"{number}", reply(b"x" * 30_000))
    assert cache.size == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # 3.12: the fork is the point
def test_a_child_forked_while_the_lock_is_held_does_not_hang():
    cache = MemoryCache()
    cache.put("a", reply())
    with cache._lock, cache.stats._lock:
        child = os.fork()
        if child == 0:
            cache.put("b", reply())
            os._exit(0 if cache.get("b") and cache.get("a") is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache.get("a") is not None


def test_the_bound_is_of_memory_and_not_of_content():
    """A streamed answer is hundreds of small objects: bounded by content alone, the cache was many times too large."""
    many_small = StoredReply(
        200,
        tuple((b"x-header-%d" % n, b"value") for n in range(20)),
        tuple(b"%d" % n for n in range(400)),
        0.0,
    )
    cache = MemoryCache(max_bytes=4_000_000)
    tracemalloc.start()
    try:
        for number in range(1_000):
            cache.put(f"key{number}", copied(many_small))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(cache) > 50
    assert held < 1.1 * 4_000_000


def copied(one):
    """Every byte string an object of its own, as they come from the network."""
    chunks = tuple(bytes(bytearray(chunk)) for chunk in one.chunks)
    headers = tuple((bytes(bytearray(k)), bytes(bytearray(v))) for k, v in one.headers)
    return StoredReply(one.status, headers, chunks, one.stored_at)


def test_entries_with_a_tag_are_forgotten_alone():
    cache = MemoryCache()
    for key, tags in {"a": ("x",), "b": ("x", "y"), "c": ()}.items():
        cache.put(key, reply(tags=tags))
    cache.clear("y")
    assert [key for key in "abc" if cache.get(key)] == ["a", "c"]
    cache.clear("x")
    assert len(cache) == 1
    cache.clear()
    assert cache.size == 0
