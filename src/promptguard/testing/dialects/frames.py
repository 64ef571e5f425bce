"""AWS event streams, as services write them: written apart from `promptguard.wire`, which reads them."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping

EVENT_STREAM = "application/vnd.amazon.eventstream"


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return one message: prelude, headers, payload, each with its checksum."""
    lines = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + len(value.encode()).to_bytes(2, "big") + value.encode()
        for name, value in headers.items()
    )
    prelude = (16 + len(lines) + len(payload)).to_bytes(4, "big") + len(lines).to_bytes(4, "big")
    message = prelude + zlib.crc32(prelude).to_bytes(4, "big") + lines + payload
    return message + zlib.crc32(message).to_bytes(4, "big")


def event(kind: str, payload: Mapping[str, object]) -> bytes:
    """Return one event with a JSON payload."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps(payload).encode())


def chunk(data: bytes) -> bytes:
    """Return the event in which Bedrock wraps what a model's own stream says."""
    return event("chunk", {"bytes": base64.b64encode(data).decode(), "p": "abcdefgh"})


def exception(kind: str, message: str) -> bytes:
    """Return an error within a stream."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps({"message": message}).encode())
