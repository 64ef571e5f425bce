"""Whether an answer in the application's hands came from the cache: `promptguard.cache_status(response)`.

A hit is marked in the HTTP response's headers, which parsed objects do not have. So the ids of the answers that were
delivered last are remembered with how they were: first those of this thread or task, whose last call the question is about
nearly always, then those of the process. A hit has the ids of the first answer: of two objects with one id the last counts.
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Literal, NamedTuple

CacheStatus = Literal["hit", "miss"]

MARK = "x-promptguard-cache"
CAPACITY = 10_000
"""Ids remembered; the oldest are forgotten."""
PENDING = 1_000
"""Answers whose ids have not been read yet: somebody has to ask first."""
_LOOKED_AT = 1024
"""Bytes of a body in which its id is looked for: providers say it first or soon."""
_LONGEST = 200
_IDS = ("x-request-id", "request-id", "x-amzn-requestid")
_ID_HEADERS = frozenset(name.encode() for name in _IDS)
_BODY_ID = re.compile(rb'"(?:id|responseId|response_id)"\s*:\s*"([^"\\]{1,200})"')
_RESPONSES = ("http_response", "response", "_response", "raw_response", "sdk_http_response", "http_res")
_OBJECT_IDS = ("_request_id", "id", "response_id", "responseId")


class _Delivery(NamedTuple):
    status: CacheStatus
    headers: Iterable[tuple[bytes, bytes]]
    start: bytes


_last: ContextVar[_Delivery | None] = ContextVar("promptguard_delivery", default=None)
_pending: deque[_Delivery] = deque(maxlen=PENDING)
_known: OrderedDict[str, CacheStatus] = OrderedDict()


def delivered(status: CacheStatus, headers: Iterable[tuple[bytes, bytes]], start: bytes = b"") -> None:
    """Remember how an answer was delivered: its headers, and the first bytes of its body as they came.

    On the caller's path of every answer; ids are read when somebody asks for the status.
    """
    delivery = _Delivery(status, headers, start[:_LOOKED_AT])
    _last.set(delivery)
    _pending.append(delivery)


def _ids(delivery: _Delivery) -> list[str]:
    """Return the ids in an answer's headers and body."""
    ids: list[str] = []
    packed = False
    for name, value in delivery.headers:
        lower = name.lower()
        if lower in _ID_HEADERS:
            ids.append(value.decode("latin-1")[:_LONGEST])
        elif lower == b"content-encoding":
            packed = True
    found = _BODY_ID.search(_unpacked(delivery.start) if packed else delivery.start)
    return ids if found is None else [*ids, found[1].decode("utf-8", "replace")]


def _recent() -> Mapping[str, CacheStatus]:
    """Return how the answers of the last ids were delivered, by id."""
    while _pending:
        try:
            delivery = _pending.popleft()
        except IndexError:
            break  # another thread was first
        for each in _ids(delivery):
            _known[each] = delivery.status
            _known.move_to_end(each)
    while len(_known) > CAPACITY:
        try:
            _known.popitem(last=False)
        except KeyError:
            break
    return _known


def _unpacked(start: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(start, _LOOKED_AT)
    except zlib.error:
        return b""  # another encoding: the headers' ids have to do


def cache_status(response: object) -> CacheStatus | None:
    """Return how the answer in `response` reached the application.

    `response`: what an SDK returned: a parsed object, a raw response, a stream that has begun, boto3's dictionary, or an
    HTTP response. "hit": from the cache, without a call; its usage repeats the first call's, so leave it out of sums of
    cost. "miss": from the provider, by a client that has a cache. None: nothing is known of it, because the client is not
    wrapped or has no cache, because the SDK's object has no id, or because 1,000 answers have come since. Never raises.

    Parsed objects are known by their id, so ask soon after the call, on its thread or in its task: of two objects with one
    id (a miss, and later its hit) the one that came last counts.

    >>> answer = client.chat.completions.create(...)  # doctest: +SKIP
    >>> cost = 0 if promptguard.cache_status(answer) == "hit" else price(answer.usage)  # doctest: +SKIP
    """
    try:
        return _of_headers(response) or _of_ids(response)
    except Exception:  # noqa: BLE001 - an object of anybody's, whose attributes may do anything
        return None


def _of_headers(response: object) -> CacheStatus | None:
    for carrier in (response, *(getattr(response, name, None) for name in _RESPONSES)):
        headers = getattr(carrier, "headers", None)
        if headers is None and isinstance(carrier, Mapping):
            headers = carrier.get("ResponseMetadata", {}).get("HTTPHeaders")
        if headers is None or not hasattr(headers, "get"):
            continue
        if headers.get(MARK) == "hit":
            return "hit"
        if any((headers.get(name) or "") in _recent() for name in _IDS):
            return "miss"  # it is not marked, so it was not the hit
    return None


def _of_ids(response: object) -> CacheStatus | None:
    said = [
        response.get(name) if isinstance(response, Mapping) else getattr(response, name, None)
        for name in _OBJECT_IDS
    ]
    ids = [each for each in said if isinstance(each, str)]
    last = _last.get()
    if last is not None and not set(ids).isdisjoint(_ids(last)):
        return last.status
    recent = _recent()
    return next((recent[each] for each in ids if each in recent), None)
