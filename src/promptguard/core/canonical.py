"""Canonical JSON and the digests taken over it.

This is a written contract: cache keys, prompt digests and the recognition of rendered messages are all
computed from these bytes. **Changing anything here changes every key ever computed** and is a breaking change
with its own heading in the changelog; then `VERSION` moves on, so that old and new keys can never meet.

The form: object members sorted by name (by code point), no white space, text as UTF-8 and not as escapes,
numbers as Python's `json` prints them (`1` and `1.0` differ, as do `0.0` and `-0.0`), tuples as arrays. NaN
and the infinities are refused, for they are no JSON. Lone surrogates, which JSON allows as escapes and models
do send, are kept as their three-byte form instead of failing.
"""

from __future__ import annotations

import hashlib
import json

VERSION = 1
"""Version of the canonical form; part of every digest."""

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: object) -> bytes:
    """Return the canonical bytes of a plain JSON value.

    Raises ValueError for NaN, infinities and cycles, TypeError for anything JSON cannot say, and
    RecursionError for values nested deeper than the interpreter's stack.
    """
    return _ENCODER.encode(value).encode("utf-8", "surrogatepass")


def digest(domain: str, value: object) -> str:
    """Return `sha256:<64 hex digits>` over the canonical bytes of `value`.

    `domain` says what the digest is for ("messages", "prompt"): equal values in two domains have two digests,
    so that one can never be passed off as the other.
    """
    state = hashlib.sha256(f"promptguard/{VERSION}/{domain}\0".encode())
    state.update(canonical_json(value))
    return f"sha256:{state.hexdigest()}"
