from __future__ import annotations

import contextlib
import os
import pickle
import sqlite3
import stat
from pathlib import Path

import pytest
from replies import SECRET, edit, reply
from tests.files import held_open

from promptguard.cache.entry import decode, encode
from promptguard.cache.place import clear_mark
from promptguard.cache.strict import StrictStore


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


TAMPERINGS = {
    "pickle in the value": ("UPDATE Cache SET mode = 4, value = ?", "bomb"),
    "pickle in a file": ("UPDATE Cache SET mode = 4, value = NULL, filename = ?", "bomb.val"),
    "binary file elsewhere": ("UPDATE Cache SET mode = 2, value = NULL, filename = ?", "../secret.txt"),
    "text file elsewhere": ("UPDATE Cache SET mode = 3, value = NULL, filename = ?", "../secret.txt"),
    "file name beside a good value": ("UPDATE Cache SET filename = ?", "../secret.txt"),
    "text as the value": ("UPDATE Cache SET value = ?", "text"),
    "nothing as the value": ("UPDATE Cache SET value = ?", None),
    "truncated": ("UPDATE Cache SET value = substr(value, 1, 100) WHERE ? IS NULL", None),
    "one bit flipped": ("UPDATE Cache SET value = ?", "flipped"),
    "entry of another key": ("UPDATE Cache SET value = ?", "swapped"),
    "written without the secret": ("UPDATE Cache SET value = ?", "forged"),
    "large": ("UPDATE Cache SET value = zeroblob(16 * 1048576 + 1) WHERE ? IS NULL", None),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_tampered_row_is_a_miss_and_runs_nothing(tampering, make, place, tmp_path):
    cache = make()
    cache.put("key", reply())
    assert cache.flush(60.0)
    marker, secret = tmp_path / "executed", tmp_path / "secret.txt"
    secret.write_text("secret")
    good = encode("key", reply(), SECRET)
    (place / "bomb.val").write_bytes(pickle.dumps(Bomb(marker)))
    values = {
        "bomb": pickle.dumps(Bomb(marker)),
        "flipped": good[:-1] + bytes([good[-1] ^ 1]),
        "swapped": encode("other", reply(), SECRET),
        "forged": encode("key", reply(b"forged"), b"a secret of the attacker's own"),
    }
    statement, value = TAMPERINGS[tampering]
    edit(place, statement, values.get(value, value))
    assert cache.get("key") is None
    assert (cache.stats.tampered, cache.stats.errors) == (1, 0)
    assert [kind for kind, _ in cache.events] == ["cache_tampered"]
    cache.put("key", reply(b"fresh"))  # overwrites the row; diskcache would delete the file it names
    assert cache.flush(60.0)
    assert cache.get("key") == reply(b"fresh")
    cache.clear(timeout_s=10)
    assert not marker.exists()
    assert secret.read_text() == "secret"
    assert (place / "bomb.val").exists()
    # The same payload does run where it is unpickled, so the absence of the marker says something.
    pickle.loads(values["bomb"])  # noqa: S301
    assert marker.exists()


def test_a_huge_row_is_an_error_and_not_a_gigabyte(make, place):
    cache = make()
    cache.put("key", reply())
    assert cache.flush(60.0)
    edit(place, "UPDATE Cache SET value = zeroblob(64 * 1048576)")
    assert cache.get("key") is None
    assert (cache.stats.tampered, cache.stats.errors) == (0, 1)


def test_foreign_keys_are_never_interpreted(make, place, tmp_path):
    cache = make()
    cache.put("key", reply())
    assert cache.flush(60.0)
    marker = tmp_path / "executed"
    edit(place, "UPDATE Cache SET raw = 0, key = ?", pickle.dumps(Bomb(marker)))
    assert cache.get("key") is None
    store = StrictStore(place, 2**20, 1.0)
    with contextlib.closing(store):
        for look in (
            lambda: list(store),
            lambda: list(store.iterkeys()),
            store.peekitem,
            lambda: list(reversed(store)),
        ):
            with pytest.raises(ValueError, match="foreign"):
                look()
        with pytest.raises(TypeError):
            store.set("key", {"not": "bytes"})
        with pytest.raises(TypeError):
            store.set(("not", "text"), b"bytes")
    assert not marker.exists()


def test_rows_of_the_settings_table_have_no_effect(make, place):
    make().close()
    for key, value in {
        "sqlite_mmap_size": 2**26,
        "get": 1,
        "_disk": 2,
        "eviction_policy": "least-recently-used",
        "statistics": 1,
        "sqlite_journal_mode": "off",
        "disk_min_file_size": 0,
        "sqlite_user_version = 7; --": 1,
        "size_limit": 1,
    }.items():
        edit(place, "INSERT OR REPLACE INTO Settings VALUES (?, ?)", key, value)
    cache = make()
    cache.put("key", reply(b"x" * 50_000))
    assert cache.flush(60.0)
    assert cache.get("key") == reply(b"x" * 50_000)
    for store in (cache._writing, cache._reading):
        assert store._con.execute("PRAGMA mmap_size").fetchall() in ([(0,)], [])
        assert store._con.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        assert store._con.execute("PRAGMA user_version").fetchall() == [(0,)]
        assert store.eviction_policy == "least-recently-stored"
    with held_open(place / "cache.db"):
        files = {path.name for path in place.iterdir()}
    assert files == {"cache.db", "cache.db-shm", "cache.db-wal"}  # no value in a file of its own


def test_nothing_on_disk_is_readable_without_being_an_entry(make, place):
    cache = make()
    cache.put("key", reply())
    assert cache.flush(60.0)
    with contextlib.closing(sqlite3.connect(place / "cache.db")) as connection:
        ((key, raw, mode, filename, value),) = connection.execute(
            "SELECT key, raw, mode, filename, value FROM Cache"
        )
    assert (key, raw, mode, filename) == ("key", 1, 1, None)
    assert decode("key", value, SECRET) == reply()


def test_the_mark_of_a_clear_leads_nowhere_else(make, place, tmp_path):
    cache = make()
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")
    (place / "cleared").symlink_to(precious)
    assert clear_mark(place) == b""
    cache.put("key", reply())
    assert cache.clear(timeout_s=10)
    assert precious.read_text() == "precious"
    assert len(clear_mark(place)) == 32
    (place / "cleared").unlink()
    os.mkfifo(place / "cleared")
    assert clear_mark(place) == b""  # and does not wait for a writer
    assert cache.clear(timeout_s=10)
    assert cache.stats.errors == 0
    assert stat.S_IMODE((place / "cleared").stat().st_mode) == 0o600
