from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from replies import SECRET, reply, until
from tests.files import held_open

from promptguard.cache.disk import DiskCache
from promptguard.errors import ConfigurationError


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


def test_what_was_put_is_served_at_once_from_memory(place):
    cache = DiskCache(place, SECRET)
    cache.put("key", reply())
    assert cache.get("key") == reply()  # the store is not even open yet
    cache.close()
    assert cache.get("key") is None
    cache.put("key", reply())  # closed: nothing, and no error


def test_directory_and_files_are_private_whatever_the_umask(place, make):
    before = os.umask(0)
    try:
        cache = make(place / "deep" / "cache")
        cache.put("key", reply())
        assert cache.flush(60.0)
    finally:
        os.umask(before)
    # SQLite removes its side files with the last connection: one of ours keeps them while they are looked at.
    with held_open(place / "deep" / "cache" / "cache.db"):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [*place.rglob("*"), place]}
    assert modes == {
        "cache": 0o700,
        "deep": 0o700,
        "cache.db": 0o600,
        "cache.db-wal": 0o600,
        "cache.db-shm": 0o600,
    }


def test_an_open_directory_of_ours_is_closed_and_one_of_others_refused(place, tmp_path, make):
    make().close()
    place.chmod(0o755)
    (place / "cache.db").chmod(0o644)
    make().close()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (place, place / "cache.db")] == [0o700, 0o600]
    home = tmp_path / "home"
    home.mkdir(0o755)
    (home / "work.txt").touch()
    refused = make(home)
    assert refused.events[0] == ("cache_error", "open: PlaceUnusable")
    assert stat.S_IMODE(home.stat().st_mode) == 0o755


def test_a_directory_that_cannot_be_used_is_told_and_every_lookup_a_miss(tmp_path, make, caplog):
    (tmp_path / "file").touch()
    (tmp_path / "linked").mkdir(0o700)
    (tmp_path / "linked" / "cache.db").symlink_to(tmp_path / "file")
    impossible = (
        tmp_path / "file",
        tmp_path / "file" / "below",
        Path("/proc/none/cache"),
        tmp_path / "linked",
    )
    for each in impossible:
        cache = make(each)
        cache.put("key", reply())
        assert cache.flush(60.0)
        assert cache.get("key") is None
        assert f"cache directory {each} cannot be used" in caplog.text
    assert (tmp_path / "file").read_bytes() == b""  # nothing was written through the link
    with pytest.raises(ConfigurationError, match="at least 16 bytes"):
        DiskCache(tmp_path / "cache", b"short")


def test_a_directory_that_can_be_used_again_is_used_again(tmp_path, make):
    clock = Clock()
    blocked = tmp_path / "cache"
    blocked.touch()
    cache = make(blocked, clock=clock)
    cache.put("before", reply())
    assert cache.flush(60.0)
    blocked.unlink()
    clock.now += 31.0
    until(lambda: cache.get("x") is None and cache._reading is not None)
    cache.put("after", reply())
    assert cache.flush(60.0)
    assert cache.get("after") == reply()


def test_without_diskcache_the_command_is_named(tmp_path):
    program = """
import sys
sys.modules["diskcache"] = None
import promptguard.cache.memory, promptguard.cache.disk
from promptguard.errors import MissingExtra
try: promptguard.cache.disk.DiskCache(sys.argv[1], b"k" * 32)
except MissingExtra as error: print(error)
"""
    command = [sys.executable, "-c", program, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 'pip install "diskcache>=5.6.3,<6"' in done.stdout


def test_a_locked_store_never_makes_a_caller_wait(make, place):
    cache = make()
    cache.put("key", reply())
    assert cache.flush(60.0)
    with contextlib.closing(sqlite3.connect(place / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        started = time.perf_counter()
        for number in range(20):
            cache.put(f"key{number}", reply())
            assert cache.get("key") == reply()
        assert time.perf_counter() - started < 5.0  # a caller that waits does so for each entry
        fresh = DiskCache(place, SECRET, memory_bytes=0)  # opens while the lock is held
        started = time.perf_counter()
        assert fresh.get("key") is None
        fresh.put("new", reply())
        assert time.perf_counter() - started < 2.0
        until(lambda: cache.stats.dropped)
        other.execute("ROLLBACK")
    assert fresh.flush(60.0)
    assert fresh.get("new") == reply()
    fresh.close()


def test_a_full_queue_drops_and_counts(make, place):
    cache = make()
    with contextlib.closing(sqlite3.connect(place / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.perf_counter()
        for number in range(1_000):
            cache.put(f"key{number}", reply())
        assert time.perf_counter() - started < 5.0
        assert cache.stats.dropped >= 480
        assert ("cache_dropped", "queue_full") in cache.events
        other.execute("ROLLBACK")
    cache.put("large", reply(b"x" * 17 * 2**20))
    assert ("cache_dropped", "entry_too_large") in cache.events


def test_a_store_that_breaks_is_left_alone_and_tried_again(make, place):
    clock = Clock()
    cache = make(clock=clock)
    cache.put("key", reply())
    assert cache.flush(60.0)
    cache._reading._con.close()  # every further read fails, as on a vanished disk
    for _ in range(3):
        assert cache.get("key") is None
    assert cache.stats.errors == 3
    assert cache.events[-1] == ("cache_unavailable", "read: ProgrammingError")
    assert cache.get("key") is None
    cache.put("other", reply())
    assert cache.flush(60.0)
    assert (cache.stats.errors, cache.stats.dropped) == (3, 1)  # nothing is tried for 30 s
    clock.now += 31
    assert cache.get("key") is None  # the probe runs in the background
    until(lambda: cache.events[-1][0] == "cache_recovered")
    assert cache.get("key") == reply()


@pytest.mark.parametrize("content", [b"not a database" * 1_000, b"SQLite format 3\0" + b"\xff" * 9_000])
def test_a_corrupt_file_is_set_aside_and_replaced(make, place, content):
    place.mkdir(0o700)
    (place / "cache.db").write_bytes(content)
    cache = make()
    assert [kind for kind, _ in cache.events] == ["cache_replaced"]
    cache.put("key", reply())
    assert cache.flush(60.0)
    assert cache.get("key") == reply()
    (kept,) = place.glob("cache.db.corrupt-*")
    assert kept.read_bytes() == content


def test_damage_in_the_middle_is_found_by_the_probe(make, place):
    clock = Clock()
    cache = make(clock=clock)
    for number in range(200):
        cache.put(f"key{number}", reply(b"x" * 3_000))
    assert cache.flush(60.0)
    cache._writing._con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    size = (place / "cache.db").stat().st_size
    with (place / "cache.db").open("r+b") as file:
        file.seek(size // 8 * 7)
        file.write(os.urandom(size // 8))
    fresh = make(clock=clock)
    answers = [fresh.get(f"key{number}") for number in range(200)]
    assert set(answers) <= {None, reply(b"x" * 3_000)}
    assert len(set(answers)) == 2
    assert fresh.events[-1][0] == "cache_unavailable"
    clock.now += 31
    fresh.get("key1")
    until(lambda: fresh._circuit.closed)
    assert "cache_replaced" in [kind for kind, _ in fresh.events]
    fresh.put("key", reply())
    assert fresh.flush(60.0)
    assert fresh.get("key") == reply()


def test_the_directory_may_vanish(make, place):
    cache = make()
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
    for number in range(10):
        cache.put(f"key{number}", reply())
        cache.get(f"key{number}")
    assert cache.flush(60.0)


def test_clear_hides_at_once_and_owes_what_it_could_not_do(make, place):
    clock = Clock()
    cache = make(clock=clock)
    cache.put("key", reply())
    assert cache.flush(60.0)
    with contextlib.closing(sqlite3.connect(place / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        cache.clear(timeout_s=0)
        assert cache.get("key") is None
        assert cache.flush(60.0)
        other.execute("ROLLBACK")
    assert cache.get("key") is None
    clock.now += 31
    cache.get("key")
    until(lambda: cache._circuit.closed)
    assert cache.get("key") is None
    cache.put("key", reply(b"new"))
    assert cache.flush(60.0)
    assert cache.get("key") == reply(b"new")
    assert cache.clear(timeout_s=10)
    assert make().get("key") is None


def test_the_size_is_bounded(make, place):
    cache = make(max_bytes=500_000)
    for number in range(300):
        cache.put(f"key{number}", reply(os.urandom(20_000)))
        if number % 50 == 0:
            assert cache.flush(60.0)
    assert cache.flush(60.0)
    assert cache.get("key299") is not None
    assert cache.get("key0") is None
    assert cache._writing.volume() < 700_000


def open_files(directory):
    return [
        link
        for link in Path("/proc/self/fd").iterdir()
        if link.exists() and str(link.resolve()).startswith(f"{directory}/")
    ]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # 3.12: the fork is the point
def test_a_child_process_begins_anew(make):
    cache = make(memory_bytes=2**20)
    cache.put("parent", reply(b"parent"))
    assert cache.flush(60.0)
    with cache._start_lock, cache._memory._lock, cache._backlog._changed:
        child = os.fork()
        if child == 0:
            right = not open_files(cache.directory)  # nothing of SQLite's came through the fork
            cache.get("parent")  # starts the child's own thread
            cache.put("child", reply(b"child"))
            right = right and cache.flush(60.0) and cache._from_store("parent") == reply(b"parent")
            os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache.get("child") == reply(b"child")
    assert cache.get("parent") == reply(b"parent")


def test_the_thread_never_delays_exit(place):
    make_and_leave = f"""
import sqlite3, time
from pathlib import Path
from promptguard.cache.disk import DiskCache
from promptguard.cache.outside import outside
from promptguard.core.model import StoredReply
use = outside.acquire((Path({str(place)!r}), b"k" * 32), lambda: DiskCache({str(place)!r}, b"k" * 32))
cache = use.thing
cache.flush(60.0)
other = sqlite3.connect({str(place / "cache.db")!r}, isolation_level=None)
other.execute("BEGIN EXCLUSIVE")
for n in range(400):
    cache.put(str(n), StoredReply(200, (), (b"x" * 5000,), 0.0))
print(time.time(), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", make_and_leave], capture_output=True, text=True, check=True)
    assert time.time() - float(done.stdout) < 3
    assert done.stderr == ""


def test_what_is_queued_when_the_process_ends_is_written(place, make):
    program = f"""
from pathlib import Path
from promptguard.cache.disk import DiskCache
from promptguard.cache.outside import outside
from promptguard.core.model import StoredReply
use = outside.acquire((Path({str(place)!r}), {SECRET!r}), lambda: DiskCache({str(place)!r}, {SECRET!r}))
cache = use.thing
assert cache.flush(60.0)
for n in range(50):
    cache.put(str(n), StoredReply(200, (), (b"x" * 5000,), 0.0))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    cache = make()
    assert all(cache.get(str(number)) for number in range(50))
