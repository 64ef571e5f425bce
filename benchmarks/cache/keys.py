"""Real requests with one thing changed: no two may share an answer, unless the change means nothing.

A request is followed through the wire protocol and the flow to the key it would be looked up under.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from benchmarks.cache.questions import QUESTIONS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptguard import wire
from promptguard.core import effects as do
from promptguard.core.context import CallContext
from promptguard.core.flow import attempt
from promptguard.core.model import Request
from promptguard.core.options import Cache
from promptguard.core.policy import Settings, State

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.integers(), st.text(max_size=6),
    st.floats(allow_nan=False, allow_infinity=False), st.just([]), st.just({}), st.just("0"),
    st.lists(st.integers(0, 2), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(0, 2), max_size=2),
)  # fmt: skip
TEXT = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=8)
IGNORED = (
    b"traceparent", b"X-Request-Id", b"Idempotency-Key", b"X-Stainless-Retry-Count", b"User-Agent",
    b"Accept-Encoding", b"X-Client-Request-Id", b"baggage",
)  # fmt: skip


@dataclass
class Figures:
    """What a campaign found."""

    tried: int = 0
    wrong: int = 0

    def __str__(self) -> str:
        return f"{self.tried} tried, {self.wrong} wrong"


REQUESTS = [question.request for question in QUESTIONS]


def key_of(
    request: Request, cache: Cache | None = None, secret: bytes = b"secret", *, any_field: bool = True
) -> str | None:
    """Return the key a request is looked up under, or None when it is not answered from the cache at all.

    `any_field`: the key itself is attacked, so whatever the tables say of fields, the user is taken to have allowed them.
    """
    protocol = wire.recognise(request)
    if protocol is None:
        return None
    facts = protocol.read_request(request) if any_field else None
    fields = {} if facts is None else {finding.name: "none" for finding in facts.findings}
    ctx = CallContext(
        settings=Settings(cache=cache or Cache(sampled=True), secret=secret, fields=fields),
        state=State(),
        identify=lambda _: ("g", None),
        take_places=lambda *_: {},
        clock=lambda: 0.0,
        wall=lambda: 0.0,
    )
    try:
        first = next(attempt(request, protocol, ctx))
    except Exception:
        return None  # a fault of ours: the driver lets such a call pass as if we were not there
    return first.key if isinstance(first, do.Lookup) else None


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value within a JSON value."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from places(each, (*at, name))


def changed(body: dict[str, Any], at: tuple[Any, ...], how: str, value: Any, name: str) -> dict[str, Any]:
    """Return a body with one thing changed at one place."""
    other = copy.deepcopy(body)
    if not at:
        other[name] = value
        return other
    holder = other
    for step in at[:-1]:
        holder = holder[step]
    if how == "replace":
        holder[at[-1]] = value
    elif how == "delete":
        del holder[at[-1]]
    elif how == "add" and isinstance(holder[at[-1]], dict):
        holder[at[-1]][name] = value
    elif how == "add" and isinstance(holder[at[-1]], list):
        holder[at[-1]].append(value)
    elif isinstance(holder, dict):
        holder[name] = holder.pop(at[-1])
    else:
        holder.insert(0, value)
    return other


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; 1, 1.0 and true are three values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


PARAMETERS = (
    "generationConfig",
    "inferenceConfig",
    "options",
    "thinking",
    "thinkingConfig",
    "reasoning",
    "logit_bias",
)


def same_question(one: Any, other: Any) -> bool:
    """Whether two bodies ask the same: in parameters 1 and 1.0 are one number, everywhere else two values."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return same(one, other)
    if one.keys() != other.keys():
        return False
    for name, value in one.items():
        theirs = other[name]
        if {type(value), type(theirs)} <= {int, float}:
            if value != theirs:
                return False
        elif not (same_question if name in PARAMETERS else same)(value, theirs):
            return False
    return True


def body_mutations(count: int) -> Figures:
    """Change one field of a real request's body `count` times; a wrong hit is the key of another question."""
    figures = Figures()
    own = [key_of(request) for request in REQUESTS]
    assert all(own), "each of them is answered from the cache"
    spots = [list(places(question.body)) for question in QUESTIONS]

    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def mutate(data: st.DataObject) -> None:
        which = data.draw(st.integers(0, len(QUESTIONS) - 1))
        asked = QUESTIONS[which].body
        at = data.draw(st.sampled_from(spots[which]))
        how = data.draw(st.sampled_from(("replace", "replace", "delete", "add", "rename")))
        other = changed(asked, at, how, data.draw(VALUES), data.draw(st.text(max_size=6)))
        body = json.dumps(other, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass")
        found = key_of(replace(REQUESTS[which], body=body))
        figures.tried += 1
        figures.wrong += found is not None and (found == own[which]) != same_question(asked, other)

    mutate()
    return figures


def head_mutations(count: int) -> Figures:
    """Change method, origin, path, query, a header or the principal; a wrong hit is an equal key."""
    figures = Figures()

    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def mutate(data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(REQUESTS))
        part = data.draw(st.sampled_from(("origin", "path", "query", "new header", "value", "drop", "case")))
        text = data.draw(TEXT)
        headers = list(request.headers)
        meaningful = [
            n
            for n, (k, v) in enumerate(headers)
            # Of an AWS signature only the access key's id counts: `principals` changes that.
            if k not in (*IGNORED, b"Host") and not v.startswith(b"AWS4-")
        ]
        at = data.draw(st.sampled_from(meaningful))
        name, value = headers[at]
        if part == "origin":
            other = replace(request, origin=f"https://{text}.example")
        elif part == "path":
            other = replace(request, path=f"/{text}{request.path}")
        elif part == "query":
            other = replace(request, path=f"{request.path}{'&' if '?' in request.path else '?'}{text}")
        elif part == "new header":
            other = replace(request, headers=(*headers, (b"X-New-" + text.encode(), b"1")))
        elif part == "value":
            headers[at] = name, value + text.encode()
            other = replace(request, headers=tuple(headers))
        elif part == "drop":
            del headers[at]
            other = replace(request, headers=tuple(headers))
        else:
            headers[at] = name, value.swapcase() if value != value.swapcase() else value + b"x"
            other = replace(request, headers=tuple(headers))
        figures.tried += 1
        figures.wrong += key_of(other) == key_of(request)

    mutate()
    return figures


def permutations(count: int, seed: int = 0) -> Figures:
    """Send the same question written in another way `count` times; a wrong one is a miss."""
    figures, rng = Figures(), Random(seed)
    for _ in range(count):
        which = rng.randrange(len(QUESTIONS))
        request = REQUESTS[which]
        body = json.dumps(
            _shuffled(QUESTIONS[which].body, rng),
            ensure_ascii=rng.random() < 0.5,
            indent=rng.choice((None, 1, 4)),
        )
        headers = [(_cased(name, rng), value) for name, value in request.headers]
        headers = [(k, b"other" if k.lower() in map(bytes.lower, IGNORED) else v) for k, v in headers]
        headers += [(rng.choice(IGNORED), rng.randbytes(4).hex().encode())]
        rng.shuffle(headers)
        figures.tried += 1
        other = replace(request, headers=tuple(headers), body=body.encode("utf-8", "surrogatepass"))
        figures.wrong += key_of(other) != key_of(request)
    return figures


def principals(count: int, seed: int = 0) -> Figures:
    """Ask one question as two of everything that tells askers apart; a wrong one is a shared key."""
    figures, rng = Figures(), Random(seed)
    base = REQUESTS[0]
    for _ in range(count):
        one, other = (rng.randbytes(6).hex() for _ in range(2))
        for axis in (_key, _azure_key, _organisation, _project, _base_url, _deployment, _sigv4):
            figures.tried += 1
            figures.wrong += key_of(axis(base, one)) == key_of(axis(base, other))
        figures.tried += 1
        figures.wrong += key_of(base, Cache(tenant=one)) == key_of(base, Cache(tenant=other))
    return figures


def _with(request: Request, name: bytes, value: str) -> Request:
    kept = tuple(pair for pair in request.headers if pair[0].lower() != name.lower())
    return replace(request, headers=(*kept, (name, value.encode())))


def _key(request: Request, text: str) -> Request:
    return _with(request, b"Authorization", f"Bearer sk-{text}")


def _azure_key(request: Request, text: str) -> Request:
    return _with(request, b"api-key", text)


def _organisation(request: Request, text: str) -> Request:
    return _with(request, b"OpenAI-Organization", text)


def _project(request: Request, text: str) -> Request:
    return _with(request, b"OpenAI-Project", text)


def _base_url(request: Request, text: str) -> Request:
    return replace(request, origin=f"https://{text}.example")


def _deployment(request: Request, text: str) -> Request:
    path = f"/openai/deployments/{text}/chat/completions?api-version=2026-10-01"
    return replace(request, origin="https://me.openai.azure.com", path=path)


def _sigv4(request: Request, text: str) -> Request:
    scope = f"AWS4-HMAC-SHA256 Credential=AKIA{text}/20261123/eu-1/bedrock/aws4_request, Signature=0"
    return _with(request, b"Authorization", scope)


def _shuffled(value: Any, rng: Random) -> Any:
    if isinstance(value, dict):
        names = list(value)
        rng.shuffle(names)
        return {name: _shuffled(value[name], rng) for name in names}
    return [_shuffled(each, rng) for each in value] if isinstance(value, list) else value


def _cased(name: bytes, rng: Random) -> bytes:
    return rng.choice((name, name.lower(), name.upper()))
