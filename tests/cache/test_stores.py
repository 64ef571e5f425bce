"""What every cache outside the process does alike: on a disk, and on a server of Valkey."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
from replies import SECRET, reply, until
from test_tiered import Clock


def test_entries_come_back_exactly_and_outlive_the_process_object(make_any):
    cache = make_any()
    for number in range(50):
        cache.put(f"key{number}", reply(b"x" * number * 100, epoch=number))
    assert cache.flush(60.0)
    assert [cache.get(f"key{n}") for n in range(50)] == [reply(b"x" * n * 100, epoch=n) for n in range(50)]
    assert cache.get("other") is None
    cache.close()
    again = make_any()
    assert again.get("key7") == reply(b"x" * 700, epoch=7)
    assert (cache.stats.hits, cache.stats.misses, cache.stats.stores, cache.stats.errors) == (50, 1, 50, 0)


def test_two_caches_share_a_store(make_any):
    first, second = make_any(), make_any()
    first.put("a", reply(b"from first"))
    second.put("b", reply(b"from second"))
    assert first.flush(60.0)
    assert second.flush(60.0)
    assert second.get("a") == reply(b"from first")
    assert first.get("b") == reply(b"from second")
    assert make_any(secret=b"another secret of some length").get("a") is None


def test_many_threads_read_and_write(make_any):
    cache, wrong = make_any(memory_bytes=10_000), []

    def run(number):
        for at in range(100):
            key = f"{(number + at) % 40}"
            cache.put(key, reply(key.encode() * 50))
            found = cache.get(key)
            if found is not None and found != reply(key.encode() * 50):
                wrong.append(key)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    [each.start() for each in threads]
    [each.join() for each in threads]
    assert cache.flush(20)
    assert not wrong
    assert (cache.stats.errors, cache.stats.tampered) == (0, 0)
    assert cache.stats.stores + cache.stats.dropped == 800


def test_an_event_receiver_that_raises_is_ignored(make_any):
    cache = make_any(listener=lambda: lambda *_: 1 / 0)
    cache.put("large", reply(b"x" * 17 * 2**20))
    cache.put("key", reply())
    assert cache.flush(60.0)


def test_entries_with_a_tag_are_cleared_and_others_forget_what_they_hold(make_any):
    one, other = make_any(), make_any(memory_bytes=2**20, clock=(clock := Clock()))
    for number, tags in enumerate([("a",), ("b",), ()]):
        one.put(f"key{number}", reply(tags=tags))
    assert one.flush(60.0)
    assert all(other.get(f"key{number}") for number in range(3))
    assert one.clear("a", timeout_s=60.0)
    clock.now += 2  # it looks once a second whether somebody cleared
    until(lambda: other.get("key0") is None)
    assert other.get("key1") == reply(tags=("b",))
    assert one.clear(timeout_s=60.0)
    clock.now += 2
    until(lambda: [other.get(f"key{number}") for number in range(3)] == [None] * 3)
    assert one.get("key1") is None


def test_the_largest_answer_comes_back_and_a_larger_one_is_not_kept(make_any):
    cache = make_any()
    large = reply(os.urandom(8 * 2**20))
    cache.put("large", large)
    cache.put("larger", reply(b"x" * 17 * 2**20))
    assert cache.flush(60.0)
    assert cache.get("large") == large
    assert cache.get("larger") is None
    assert ("cache_dropped", "entry_too_large") in cache.events


def test_names_of_any_kind_come_back(make_any):
    cache = make_any()
    odd = {"key": "", "ключ#1": "prime@1", "{curly}:*?[a]": "x" * 200, " \n\0": "tab\t"}
    for key, group in odd.items():
        cache.put(key, reply(group=group, tags=(group or "none",)))
    assert cache.flush(60.0)
    assert {key: cache.get(key) for key in odd} == {
        key: reply(group=group, tags=(group or "none",)) for key, group in odd.items()
    }
    assert cache.clear("prime@1", timeout_s=60.0)
    assert [cache.get(key) is None for key in odd] == [False, True, False, False]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # 3.12: the fork is the point
def test_parent_and_child_go_on_with_connections_of_their_own(make_any):
    cache = make_any(memory_bytes=2**20)
    cache.put("parent", reply(b"parent"))
    assert cache.flush(60.0)
    child = os.fork()
    if child == 0:
        cache.get("parent")  # starts the child's own thread
        cache.put("child", reply(b"child"))
        right = cache.flush(60.0) and cache._from_store("parent") == reply(b"parent")
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    until(lambda: cache._reading is not None)
    assert cache._from_store("child") == reply(b"child")
    assert cache._from_store("parent") == reply(b"parent")


def test_nothing_of_the_servers_is_imported_for_another_kind():
    code = (
        "import sys, promptguard.cache.outside, promptguard.cache.tiered, promptguard.cache.redis_server;"
        "print({'sqlite3', 'diskcache', 'redis'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_the_secret_alone_says_whose_entries_they_are(make_any):
    cache = make_any(secret=SECRET[::-1])
    cache.put("key", reply())
    assert cache.flush(60.0)
    assert make_any().get("key") is None
    assert make_any(secret=SECRET[::-1]).get("key") == reply()
