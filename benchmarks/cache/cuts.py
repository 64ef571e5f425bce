"""Answers cut at every byte, cleanly and by an error: nothing may be kept, and the caller sees what it would without us."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import httpx
from benchmarks.cache.questions import QUESTIONS, Asked

import promptguard
from promptguard import wire
from promptguard.cache.memory import MemoryCache
from promptguard.cache.tiered import Tiered
from promptguard.testing import Served
from promptguard.testing.dialects import dialect_of
from promptguard.testing.dialects.parts import Answer

STREAMED_AT = {
    ":generateContent": ":streamGenerateContent?alt=sse",
    ":rawPredict": ":streamRawPredict",
    "/converse": "/converse-stream",
    "/invoke": "/invoke-with-response-stream",
}
"""Where a protocol's streams are asked for at another path; elsewhere the body says so."""


@dataclass(frozen=True)
class Whole:
    """A question and its whole answer, as it is on the wire."""

    asked: Asked
    streamed: bool
    body: bytes
    headers: dict[str, str]


def _whole(asked: Asked, *, streamed: bool, packed: bool = False) -> Whole:
    dialect = dialect_of(asked.path)
    assert dialect is not None
    served = Served("Ja, größer {1} als zuvor", output_tokens=3, model="served-0613")
    answer = Answer(dialect.asked(asked.path, asked.body), served, "0" * 24, 1, chunk_words=1)
    body = b"".join(dialect.streamed(answer)) if streamed else json.dumps(dialect.plain(answer)).encode()
    headers = {"content-type": dialect.STREAM_TYPE if streamed else "application/json"}
    if packed:
        body, headers = gzip.compress(body, mtime=0), {**headers, "content-encoding": "gzip"}
    return Whole(asked, streamed, body, headers)


def _as_stream(asked: Asked) -> Asked:
    for end, other in STREAMED_AT.items():
        if asked.path.endswith(end):
            return replace(asked, path=asked.path.removesuffix(end) + other)
    return replace(asked, body={**asked.body, "stream": True})


def _protocol(asked: Asked) -> str:
    found = wire.recognise(asked.request)
    assert found is not None
    return str(found.NAME)


def _wholes() -> Iterator[tuple[str, Whole]]:
    """Yield every protocol's answers, plain and streamed, and one protocol's compressed."""
    for name, asked in {_protocol(asked): asked for asked in QUESTIONS}.items():
        yield name, _whole(asked, streamed=False)
        if name != "openai_embeddings":
            yield f"{name}, streamed", _whole(_as_stream(asked), streamed=True)
    yield "gzip", _whole(QUESTIONS[0], streamed=False, packed=True)
    yield "gzip, streamed", _whole(_as_stream(QUESTIONS[0]), streamed=True, packed=True)


WHOLE = dict(_wholes())
URL = QUESTIONS[0].origin + QUESTIONS[0].path
PLAIN = WHOLE["openai_chat"].body


@dataclass
class Figures:
    """What a campaign found."""

    cuts: int = 0
    stored: int = 0
    added_errors: int = 0
    """calls that ended otherwise than without a cache"""
    faults: dict[str, int] = field(default_factory=dict)
    """what went wrong on our side and reached nobody, operation and kind → how often"""

    def __str__(self) -> str:
        return f"{self.cuts} cuts: {self.stored} entries stored, {self.added_errors} errors added; faults {self.faults}"


class Cut(httpx.SyncByteStream):
    """Gives a body in pieces of seven bytes, and ends or breaks where it is told to."""

    def __init__(self, body: bytes, breaks: bool) -> None:
        self.body = body
        self.breaks = breaks

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self.body), 7):
            yield self.body[at : at + 7]
        if self.breaks:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


class Provider(httpx.BaseTransport):
    """Answers every request with the bytes it was given last."""

    def __init__(self) -> None:
        self.body = b""
        self.headers: dict[str, str] = {}
        self.breaks = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=self.headers, stream=Cut(self.body, self.breaks))


def ask(client: httpx.Client, asked: Asked) -> tuple[str, bytes]:
    """Return what a caller sees: how it ended and the raw bytes until then."""
    seen: list[bytes] = []
    try:
        with client.stream(
            "POST", asked.origin + asked.path, json=asked.body, headers=list(asked.headers)
        ) as response:
            seen.extend(response.iter_raw())
    except httpx.HTTPError as error:
        return type(error).__name__, b"".join(seen)
    return "end", b"".join(seen)


def campaign(kind: str, step: int = 1, **guarded: object) -> Figures:
    """Cut one kind of body at every `step`-th byte, and at each of its first and last 40, in both ways.

    `guarded` are further arguments of guard(); by default the cache is in memory.
    """
    figures, provider, whole = Figures(), Provider(), WHOLE[kind]
    provider.headers = whole.headers
    bare = httpx.Client(transport=provider)
    client = promptguard.guard(httpx.Client(transport=provider), **{"cache": "memory", **guarded})
    cache = client._transport._promptguard_ports.cache
    faults = client._transport._promptguard_ports.faults
    size = len(whole.body)
    for at in sorted({*range(0, size, step), *range(min(40, size)), *range(max(0, size - 40), size)}):
        for provider.breaks in (False, True):
            provider.body = whole.body[:at]
            figures.cuts += 1
            figures.added_errors += ask(client, whole.asked) != ask(bare, whole.asked)
            figures.stored += _kept(cache)
    provider.body, provider.breaks = whole.body, True
    figures.cuts += 1
    ask(client, whole.asked)
    # All bytes came, and then the connection broke: only a stream is known to be complete by what it said.
    kept = _kept(cache)
    figures.stored += kept if not whole.streamed else 0
    provider.breaks = False
    figures.faults = dict(faults.counts)
    assert _is_kept(client, whole.asked, cache), (
        f"the whole answer must be kept, or the campaign shows nothing: {kind}"
    )
    return figures


def _is_kept(client: httpx.Client, asked: Asked, cache: MemoryCache | Tiered) -> bool:
    """Ask until the answer is stored, or is a hit: a server that was slow, on a busy machine, is left alone for a while."""
    hits = cache.stats.hits
    for _ in range(300):
        ask(client, asked)
        if _kept(cache) or cache.stats.hits > hits:
            return True
        time.sleep(0.2)
    return False


def _kept(cache: MemoryCache | Tiered) -> int:
    """Return how many entries there are, and remove them."""
    if isinstance(cache, Tiered):
        assert cache.flush(60)
    kept, cache.stats.stores = cache.stats.stores, 0
    if kept:
        cache.clear()
    return kept
