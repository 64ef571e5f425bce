"""Whether all bytes of an answer are there; what they say is judged by `wire`."""

from __future__ import annotations

import zlib

from promptguard.core.effects import Body, Head
from promptguard.core.model import header

_MOST = 32 * 1024 * 1024
_WINDOWS = (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS)
"""gzip and zlib by their headers; raw deflate comes without one from some servers."""


def broken_off(head: Head, body: Body, *, streamed: bool) -> str | None:
    """Why bytes of a body may be missing, or None.

    A stream may be closed after its terminal event, which is what SDKs do; everything else must have been read to its
    end. A compressed body whose checksum is cut off decodes without a word, and is a cut body all the same.
    """
    if body.clipped:
        return "clipped"
    if body.end == "cut":
        return "cut"
    if body.end == "closed":
        return None if streamed else "closed early"
    coding = (header(head.headers, b"content-encoding") or b"identity").strip().lower()
    if coding in {b"gzip", b"x-gzip", b"deflate"} and not _decodes_to_its_end(b"".join(body.chunks)):
        return "cut"
    return None


def _decodes_to_its_end(packed: bytes) -> bool:
    for window in _WINDOWS:
        unpacking = zlib.decompressobj(window)
        try:
            unpacking.decompress(packed, _MOST)
        except zlib.error:
            continue
        return unpacking.eof
    return False
