"""One cached reply as bytes: written by us, or not believed.

::

    magic+version   4  b"PGC2"
    key digest     32  SHA-256 of the cache key: an entry moved to another key is recognised
    length          8  of the payload, so that a truncated entry is recognised
    mac            32  BLAKE2b keyed with the cache's secret over all of the above, the cache key, and the payload
    payload            fixed-width numbers and length-prefixed byte strings

The MAC is checked before a byte of the payload is looked at (cache poisoning and bit rot: diskcache returns a
row with one flipped byte without a word). Parsing is by `struct` alone: no format that can name a type.
"""

from __future__ import annotations

import functools
import hmac
import struct
from hashlib import blake2b, sha256

from promptguard.core.model import StoredReply

MAGIC = b"PGC2"
MAX_ENTRY_BYTES = 16 * 2**20
"""Larger replies are not kept, and larger rows not read."""
MIN_MAC_KEY_BYTES = 16

_HEAD = struct.Struct(">4s32sQ32s")
_FACTS = struct.Struct(">HdqQQ?")
_LENGTH = struct.Struct(">I")


class BadEntry(ValueError):  # noqa: N818 - reads as what it is; never leaves the caches
    """The bytes are not an entry that was written with this key and this secret."""


def encode(key: str, reply: StoredReply, mac_key: bytes) -> bytes:
    """Return the entry for `reply` under the cache key `key`; raises BadEntry when it cannot be one."""
    try:
        parts = [
            _FACTS.pack(
                reply.status,
                reply.stored_at,
                reply.epoch,
                reply.input_tokens,
                reply.output_tokens,
                reply.paired,
            )
        ]
        _add(parts, _text(reply.group), _text(reply.model), _text(reply.served))
        parts.append(_LENGTH.pack(len(reply.tags)))
        _add(parts, *map(_text, reply.tags))
        parts.append(_LENGTH.pack(len(reply.headers)))
        for name, value in reply.headers:
            _add(parts, name, value)
        parts.append(_LENGTH.pack(len(reply.chunks)))
        _add(parts, *reply.chunks)
        payload = b"".join(parts)
    except (struct.error, TypeError, AttributeError) as error:
        raise BadEntry(f"this reply cannot be kept: {error}") from None
    if len(payload) > MAX_ENTRY_BYTES - _HEAD.size:
        raise BadEntry(f"an entry has at most {MAX_ENTRY_BYTES} bytes")
    name = sha256(_text(key)).digest()
    return _HEAD.pack(MAGIC, name, len(payload), _mac(key, name, payload, mac_key)) + payload


def decode(key: str, blob: bytes, mac_key: bytes) -> StoredReply:
    """Return the reply in `blob`; raises BadEntry unless it was written under `key` with `mac_key`."""
    if not _HEAD.size <= len(blob) <= MAX_ENTRY_BYTES:
        raise BadEntry("wrong size")
    magic, name, length, mac = _HEAD.unpack_from(blob)
    payload = blob[_HEAD.size :]
    if magic != MAGIC:
        raise BadEntry("wrong format")
    if length != len(payload):
        raise BadEntry("wrong length")
    if not hmac.compare_digest(name, sha256(_text(key)).digest()):
        raise BadEntry("entry of another key")
    if not hmac.compare_digest(mac, _mac(key, name, payload, mac_key)):
        raise BadEntry("wrong mac")
    try:
        return _parse(payload)
    except (struct.error, UnicodeDecodeError) as error:  # only an entry of our own making gets this far
        raise BadEntry(f"malformed: {error}") from None


def _mac(key: str, name: bytes, payload: bytes, mac_key: bytes) -> bytes:
    state = blake2b(key=_secret(mac_key), digest_size=32)
    text = _text(key)
    state.update(MAGIC + name + _LENGTH.pack(len(text)) + text + struct.pack(">Q", len(payload)))
    state.update(payload)
    return state.digest()


@functools.lru_cache(maxsize=8)
def _secret(mac_key: bytes) -> bytes:
    return blake2b(
        mac_key, digest_size=32, person=b"promptguard-mac1"
    ).digest()  # any length becomes 32 bytes


def _parse(payload: bytes) -> StoredReply:
    status, stored_at, epoch, input_tokens, output_tokens, paired = _FACTS.unpack_from(payload)
    (group, model, served), at = _strings(payload, _FACTS.size, 3)
    tags, at = _strings(payload, *_count(payload, at))
    start, headers = _count(payload, at)
    lines, at = _strings(payload, start, 2 * headers)
    chunks, at = _strings(payload, *_count(payload, at))
    if at != len(payload):
        raise BadEntry("malformed: bytes are left over")
    return StoredReply(
        status,
        tuple(zip(lines[::2], lines[1::2], strict=True)),
        tuple(chunks),
        stored_at,
        group=_said(group),
        model=_said(model),
        epoch=epoch,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        served=_said(served),
        tags=tuple(map(_said, tags)),
        paired=paired,
    )


def _count(data: bytes, at: int) -> tuple[int, int]:
    """Return where a list begins, and how many it has."""
    (count,) = _LENGTH.unpack_from(data, at)
    return at + _LENGTH.size, count


def _strings(data: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    """Return `count` length-prefixed byte strings and where they end; never reads past the end."""
    found = []
    end, unpack, size = len(data), _LENGTH.unpack_from, _LENGTH.size
    for _ in range(count):
        (length,) = unpack(data, at)
        start = at + size
        at = start + length
        if at > end:
            raise BadEntry("malformed: a part is cut")
        found.append(data[start:at])
    return found, at


def _said(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")


def _add(parts: list[bytes], *strings: bytes) -> None:
    for each in strings:
        parts.append(_LENGTH.pack(len(each)))
        parts.append(each)


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")
