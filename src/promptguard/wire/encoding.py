"""Undo Content-Encoding with a bound: a few kilobytes on the wire must not become gigabytes here."""

from __future__ import annotations

import zlib

from promptguard.core.model import Headers, header

MAX_DECODED = 32 * 1024 * 1024


def decoded(body: bytes, headers: Headers) -> bytes | None:
    """Return `body` without its gzip or deflate encoding, at most MAX_DECODED bytes; None when it cannot be read.

    A body cut short gives what could be decoded of it: closing early is an outcome, not an error.
    """
    coding = (header(headers, b"content-encoding") or b"identity").strip().lower()
    if coding in {b"", b"identity"}:
        return body
    if coding not in {b"gzip", b"x-gzip", b"deflate"}:
        return None
    for window in (
        zlib.MAX_WBITS | 32,
        -zlib.MAX_WBITS,
    ):  # raw deflate comes without its zlib header from some servers
        try:
            return zlib.decompressobj(window).decompress(body, MAX_DECODED)
        except zlib.error:
            continue
    return None
