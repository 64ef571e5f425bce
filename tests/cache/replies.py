"""Replies for the cache tests, and a wait for what a background thread does."""

from __future__ import annotations

import contextlib
import sqlite3
import time

from promptguard.core.model import StoredReply

SECRET = b"0123456789abcdef0123456789abcdef"


def reply(text=b"hello", **changes):
    facts = {
        "status": 200,
        "headers": ((b"Content-Type", b"application/json"),),
        "chunks": (text[:2], b"", text[2:]),
    }
    return StoredReply(
        **{**facts, "stored_at": 1_700_000_000.25, "group": "prime@1", "model": "gpt-4", **changes}
    )


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def edit(place, statement, *values):
    with contextlib.closing(sqlite3.connect(place / "cache.db", timeout=10)) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0, "nothing was edited"
