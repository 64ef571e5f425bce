"""AWS event streams (`application/vnd.amazon.eventstream`): from whole bytes to messages with checked sums.

A message is a prelude (two lengths and their CRC), headers, a payload, and a CRC over all of it.
https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html ; read against botocore 1.44 (eventstream.py).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_PRELUDE = struct.Struct("!III")
_SUM = struct.Struct("!I")
_LEAST = _PRELUDE.size + _SUM.size
_TEXT = 7
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by its type: two booleans, integers, a timestamp, a UUID. 6 and 7 say their own length."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message; of its headers those that are text, which are all that services send."""

    headers: Mapping[str, str]
    payload: bytes


def messages(body: bytes) -> Iterator[Message]:
    """Yield the complete messages in `body`; one whose last byte is missing is not complete.

    Raises ValueError where a checksum or a length is wrong: what follows cannot be told apart any more.
    """
    at = 0
    while len(body) - at >= _PRELUDE.size:
        total, headers, checksum = _PRELUDE.unpack_from(body, at)
        if zlib.crc32(body[at : at + 8]) != checksum:
            raise ValueError("the checksum of a prelude is wrong")
        if total < _LEAST + headers:
            raise ValueError("a message is shorter than its parts")
        if len(body) - at < total:
            return
        end = at + total - _SUM.size
        if zlib.crc32(body[at:end]) != _SUM.unpack_from(body, end)[0]:
            raise ValueError("the checksum of a message is wrong")
        begins = at + _PRELUDE.size
        yield Message(_headers(body[begins : begins + headers]), body[begins + headers : end])
        at += total


def events(body: bytes) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the type of each complete event in `body` with its payload's JSON object.

    Raises ValueError for an error that the server reports within the stream, and for what is no such event.
    """
    for message in messages(body):
        if message.headers.get(":message-type") != "event":
            raise ValueError("the server reported an error within the stream")
        payload = json.loads(message.payload)
        if not isinstance(payload, dict):
            raise ValueError("an event's payload is no object")
        yield message.headers.get(":event-type", ""), payload


def _headers(raw: bytes) -> dict[str, str]:
    """Read the headers of a message. Raises ValueError for what is none."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(raw):
            begins = at + 1
            at = begins + raw[at]
            name, kind = raw[begins:at].decode("utf-8"), raw[at]
            at += 1
            size = _SIZES.get(kind)
            if size is None:
                (size,) = struct.unpack_from("!H", raw, at)
                at += 2
            value = raw[at : at + size]
            at += size
            if kind == _TEXT:
                found[name] = value.decode("utf-8")
    except (IndexError, struct.error) as error:
        raise ValueError("a message's headers are broken") from error
    if at != len(raw):
        raise ValueError("a message's headers are broken")
    return found
