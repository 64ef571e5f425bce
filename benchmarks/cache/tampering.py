"""Entries on disk, or on a server, that were tampered with: each must be a miss, run nothing, and cost little memory."""

from __future__ import annotations

import contextlib
import gzip
import pickle
import resource
import sqlite3
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from promptguard.cache import redis_server
from promptguard.cache.disk import DiskCache
from promptguard.cache.entry import encode
from promptguard.cache.redis_server import Names, Server
from promptguard.cache.tiered import Tiered
from promptguard.core.model import StoredReply
from promptguard.core.options import Cache

SECRET = b"0123456789abcdef0123456789abcdef"


@dataclass
class Figures:
    """What a campaign found."""

    tried: int = 0
    executed: int = 0
    wrong: int = 0
    noticed: int = 0
    memory_mb: float = 0.0
    by_kind: dict[str, int] | None = None

    def __str__(self) -> str:
        return (
            f"{self.tried} tampered entries: {self.executed} executions, {self.wrong} wrong bodies, "
            f"{self.noticed} noticed as tampered, {self.memory_mb:.0f} MB more at the peak ({self.by_kind})"
        )


class Bomb:
    """Touches a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def reply(number: int) -> StoredReply:
    """Return the reply that belongs to a key."""
    text = f'{{"answer": {number}}}'.encode() * (1 + number % 40)
    return StoredReply(
        200, ((b"content-type", b"application/json"),), (text[:7], text[7:]), 1.7e9, "g", "gpt-4"
    )


def campaign(count: int, place: Path, seed: int = 0) -> Figures:
    """Write `count` entries, tamper with every one, read every one."""
    figures, rng = Figures(by_kind={}), Random(seed)
    marker = place.parent / "executed"
    cache = _cache(place)
    for number in range(count):
        cache.put(f"key{number}", reply(number))
        if number % 200 == 199:
            assert cache.flush(60)
    assert cache.flush(60)
    cache.close()
    _tamper_all(count, place, marker, rng, figures)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cache = _cache(place)
    deadline = time.monotonic() + 10
    while cache._reading is None and time.monotonic() < deadline:
        time.sleep(0.01)
    for number in range(count):
        found = cache.get(f"key{number}")
        figures.tried += 1
        figures.wrong += found is not None
    figures.noticed = cache.stats.tampered
    cache.clear(timeout_s=60)
    cache.close()
    figures.executed = int(marker.exists())
    figures.memory_mb = max(0.0, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    return figures


def campaign_on_server(count: int, url: str, seed: int = 0) -> Figures:
    """Do the same to entries on a server of Redis or Valkey, whose every byte an attacker may write."""
    import redis

    figures, rng = Figures(by_kind={}), Random(seed)
    redis_server.BUDGET_S = 20.0  # what is measured here is no machine's speed
    server = Server(Cache("redis", url=url), SECRET)
    cache = Tiered(server, SECRET, memory_bytes=0)
    for number in range(count):
        cache.put(f"key{number}", reply(number))
        if number % 200 == 199:
            assert cache.flush(60)
    assert cache.flush(60)
    client, names = redis.Redis.from_url(url), Names(SECRET)
    for number in range(count):
        name = f"{names.entry}key{number}"
        good = client.get(name)
        kinds: dict[str, Callable[[], object]] = {
            "flip": lambda good=good, name=name: client.set(name, _flipped(good, rng)),
            "cut": lambda good=good, name=name: client.set(name, good[: rng.randrange(1, len(good))]),
            "grown": lambda name=name: client.append(name, rng.randbytes(1 + rng.randrange(9))),
            "swap": lambda name=name, n=number: client.set(name, encode(f"key{n + 1}", reply(n + 1), SECRET)),
            "forged": lambda name=name, n=number: client.set(
                name, encode(f"key{n}", reply(-1), b"an attacker's secret")
            ),
            "pickle": lambda name=name: client.set(name, pickle.dumps(Bomb(Path("executed")))),
            "bomb": lambda name=name: client.set(name, gzip.compress(bytes(1_000_000))),
            "random": lambda name=name: client.set(name, rng.randbytes(1 + rng.randrange(600))),
            "old format": lambda good=good, name=name: client.set(name, b"PGC1" + good[4:]),
            "list": lambda good=good, name=name: (client.delete(name), client.rpush(name, good)),
            "hash": lambda good=good, name=name: (client.delete(name), client.hset(name, "value", good)),
        }
        kind = "large" if number == 7 else rng.choice(sorted(kinds))
        if number == 7:
            client.set(name, bytes(64 * 2**20))
        else:
            kinds[kind]()
        figures.by_kind[kind] = figures.by_kind.get(kind, 0) + 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        figures.tried += 1
        figures.wrong += cache.get(f"key{number}") is not None
    figures.noticed = cache.stats.tampered
    figures.executed = int(Path("executed").exists())
    figures.memory_mb = max(0.0, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    cache.clear(timeout_s=60)
    cache.close()
    return figures


def _cache(place: Path) -> DiskCache:
    return DiskCache(place, SECRET, memory_bytes=0)


def _tamper_all(count: int, place: Path, marker: Path, rng: Random, figures: Figures) -> None:
    bomb = pickle.dumps(Bomb(marker))
    (place / "bomb.val").write_bytes(bomb)
    gzip_bomb, zlib_bomb = gzip.compress(bytes(50_000_000)), zlib.compress(bytes(50_000_000))
    with contextlib.closing(sqlite3.connect(place / "cache.db", timeout=10)) as connection, connection:
        for number in range(count):
            key = f"key{number}"
            good = encode(key, reply(number), SECRET)
            kinds = {
                "flip": lambda good=good: _row(_flipped(good, rng)),
                "cut": lambda good=good: _row(good[: rng.randrange(len(good))]),
                "grown": lambda good=good: _row(good + rng.randbytes(1 + rng.randrange(9))),
                "swap": lambda n=number: _row(encode(f"key{n + 1}", reply(n + 1), SECRET)),
                "renamed swap": lambda good=good, n=number: _row(
                    good[:36] + encode(f"key{n + 1}", reply(n + 1), SECRET)[36:]
                ),
                "forged": lambda key=key: _row(encode(key, reply(-1), b"a secret of the attacker's own")),
                "length": lambda good=good: _row(good[:36] + rng.randbytes(8) + good[44:]),
                "pickle": lambda: (bomb, 4, None),
                "pickle as bytes": lambda: (bomb, 1, None),
                "pickle in a file": lambda: (None, 4, "bomb.val"),
                "path": lambda: (None, rng.choice((2, 3)), "../../etc/passwd"),
                "path beside": lambda good=good: (good, 1, "../secret.txt"),
                "text": lambda: ("text", 1, None),
                "number": lambda: (rng.randrange(2**40), rng.choice((1, 4)), None),
                "null": lambda: (None, 1, None),
                "gzip bomb": lambda: (gzip_bomb, 1, None),
                "zlib bomb": lambda: (zlib_bomb, 1, None),
                "random": lambda: _row(rng.randbytes(rng.randrange(600))),
                "old format": lambda good=good: _row(b"PGC1" + good[4:]),
            }
            kind = rng.choice(sorted(kinds))
            if number == 7:
                value, mode, filename = bytes(16 * 2**20 + 1), 1, None  # the largest that SQLite lets us read
                kind = "large"
            else:
                value, mode, filename = kinds[kind]()
            figures.by_kind[kind] = figures.by_kind.get(kind, 0) + 1
            done = connection.execute(
                "UPDATE Cache SET value = ?, mode = ?, filename = ? WHERE key = ?",
                (value, mode, filename, key),
            )
            assert done.rowcount == 1


def _row(value: bytes) -> tuple[bytes, int, None]:
    return value, 1, None


def _flipped(good: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(good))
    return good[:at] + bytes([good[at] ^ (1 << rng.randrange(8))]) + good[at + 1 :]
