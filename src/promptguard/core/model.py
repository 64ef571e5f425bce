"""The values that travel through a call: ours, so that no SDK or HTTP library type leaks past `http/`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from promptguard.core.rollouts import Staged

Headers = tuple[tuple[bytes, bytes], ...]
"""Raw header lines in wire order, names as sent."""

BodyEnd = Literal["eof", "terminal", "closed", "cut"]
"""How an answer's body ended: end of data; the protocol's terminal event; the caller closed early; the network cut it."""


_OBJECT = 48
"""Bytes of one small object and the pointer to it."""


def header(headers: Headers, name: bytes) -> bytes | None:
    """Return the first value of header `name` (lower case), or None."""
    return next((value for key, value in headers if key.lower() == name), None)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP attempt as the SDK built it."""

    method: str
    origin: str
    """scheme://host[:port]"""
    path: str
    """path with query, as sent"""
    headers: Headers
    body: bytes
    timeout: Mapping[str, float | None] = field(default_factory=dict)
    """the caller's own limits in seconds, by httpx's names: connect, read, write, pool"""
    handed_out: bool = False
    """the SDK hands the answer out before its body is read, although it is no stream of events"""

    def with_body(self, body: Mapping[str, object]) -> Request:
        """Return the same request with another JSON body, and the length that goes with it."""
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        try:
            written = text.encode()
        except UnicodeEncodeError:  # half a character, which JSON can say and UTF-8 cannot
            written = json.dumps(body, separators=(",", ":")).encode()
        length = str(len(written)).encode()
        headers = tuple((k, length if k.lower() == b"content-length" else v) for k, v in self.headers)
        return replace(self, headers=headers, body=written)


class Ambiguous(dict[str, object]):
    """A body in which some object says one member twice: two parsers may read two questions, so it is never cached."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a request that keeps it from being answered from the cache, or asked again; `core.fields` finds it."""

    name: str
    """as reasons and `wrap(fields=...)` have it, such as `thread`, `tools.type=mcp`, `anthropic-beta=x`, `?x`"""
    effect: Literal["stateful", "kept", "unknown"]
    """`kept`: leaves something at the provider that a background copy can do without"""
    why: str = ""

    @property
    def reason(self) -> str:
        """The finding as people read it, and as it is counted."""
        return f"field `{self.name}`: {self.why}" if self.why else f"field `{self.name}` not known"


@dataclass(frozen=True, slots=True)
class Facts:
    """What one protocol says about a request; made by `wire`, so that nothing else parses bodies."""

    protocol: str
    provider: str
    """gen_ai.provider.name"""
    operation: str
    """gen_ai.operation.name"""
    model: str
    messages: tuple[object, ...]
    body: Mapping[str, object]
    streamed: bool
    instructions: tuple[object, ...] = ()
    """system and developer messages and tools: what calls without a template are grouped by"""
    findings: Sequence[Finding] = ()
    """what in it is stateful, kept at the provider, or not known; () for a call that may be repeated"""
    temperature: float | None = None
    choices: int = 1
    incomparable: str | None = None
    """why its answers cannot be compared (embeddings have no text), or None; such calls can still be cached"""
    response_format: Mapping[str, object] | None = None
    """what the answer must look like, in the words of OpenAI's chats whatever the protocol, or None"""


@dataclass(frozen=True, slots=True)
class PromptReference:
    """Which prompt a request was rendered from, and how its answers are judged: a fact of the call, kept with it."""

    name: str
    version: str
    digest: str
    """digest of the prompt's content, not of one rendering"""
    reference: str | None = None
    """the true answer, where the application said it (`Call.expect`)"""
    label_rule: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """label → regular expression, in the order they are tried"""
    staged: Staged | None = None
    """which arm of a rollout this rendering is, where it is of one"""

    @property
    def group(self) -> str:
        """What pairs of this prompt are counted under, such as `prime@1`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Identity:
    """What the provider says served a call; None means "not reported", which is a fact of its own."""

    model: str | None = None
    fingerprint: str | None = None
    service_tier: str | None = None
    region: str | None = None
    backend: str | None = None
    """which of a router's providers or deployments answered"""


@dataclass(frozen=True, slots=True)
class TokenDetails:
    """Which of an answer's tokens were special, as far as the provider says so; they are part of the sums."""

    cache_read: int | None = None
    """of the input, those read from the provider's own prompt cache"""
    cache_write: int | None = None
    """of the input, those written to it"""
    reasoning: int | None = None
    """of the output, those that the caller does not see"""


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer as the protocol tells it, whatever its content; `complete` is judged by the terminal event."""

    text: str
    complete: bool
    finish_reason: str | None = None
    refusal: str | None = None
    tool_calls: tuple[Mapping[str, object], ...] = ()
    identity: Identity = Identity()
    response_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    token_details: TokenDetails = TokenDetails()
    error: str | None = None
    other_ends: tuple[str, ...] = ()
    """finish reasons of the choices after the first, `refusal` for one that refused; only n above 1 has any"""
    logprobs: tuple[float, ...] = ()
    """log-probabilities of the answer's first tokens, where the server gives them"""


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A response as the cache keeps it: the bytes the server sent, chunk by chunk, and whose answer it was.

    `group`, `model` and `epoch` say under which verdict epoch the answer was given: after a confirmed drift the
    epoch of (group, model) moves on and older entries are no longer served. `served` is the identity epoch, by its
    name: the model that the provider said had answered (a number would mean different things in two processes).
    """

    status: int
    headers: Headers
    chunks: tuple[bytes, ...]
    stored_at: float
    """seconds since the Unix epoch"""
    group: str = ""
    model: str = ""
    epoch: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    served: str = ""
    tags: tuple[str, ...] = ()
    paired: bool = False
    """it entered the replay stream already, and an answer enters a stream's evidence once"""

    @property
    def size(self) -> int:
        """Bytes of memory this entry occupies, rounded up: a stream of many small chunks is mostly overhead."""
        headers = sum(len(k) + len(v) + 3 * _OBJECT for k, v in self.headers)
        chunks = sum(map(len, self.chunks)) + _OBJECT * len(self.chunks)
        texts = 4 * (len(self.group) + len(self.model) + len(self.served) + sum(map(len, self.tags)))
        return 768 + headers + chunks + texts + 2 * _OBJECT * len(self.tags)
