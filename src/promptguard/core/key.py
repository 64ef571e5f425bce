"""The cache key: everything that was sent, less what is named below with its reason.

A deny-list, never an allow-list: a field or header nobody has thought of becomes part of the key, so that the worst
mistake is a miss (keys that leave fields out returned foreign answers in litellm#42400 and langchain#40403).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple

from promptguard.core.canonical import canonical_json
from promptguard.core.model import Headers, Request

VERSION = "pg1"

_CREDENTIAL = "in the key as a keyed digest of the principal, never in the clear"
_TRACING = "tracing"
_SDK = "names the SDK's version, not the question"
_SIGNATURE = "part of a signature that is new for every call; the access key's id stands for it"
EXCLUDED_HEADERS: Mapping[str, str] = {
    "accept-encoding": "changes the bytes on the wire, never the answer; the stored bytes are served as they came",
    "amz-sdk-invocation-id": "new for every call",
    "amz-sdk-request": "names the attempt, not the question",
    "authorization": _CREDENTIAL,
    "api-key": _CREDENTIAL,
    "x-api-key": _CREDENTIAL,
    "x-goog-api-key": _CREDENTIAL,
    "b3": _TRACING,
    "baggage": _TRACING,
    "connection": "about the connection, not the question",
    "content-length": "follows from the body",
    "cookie": "in the key as part of the principal, less the cookies of load balancers",
    "host": "in the key as the origin, and itself where it differs from that",
    "idempotency-key": "new for every call",
    "sentry-trace": _TRACING,
    "traceparent": _TRACING,
    "tracestate": _TRACING,
    "transfer-encoding": "about the connection, not the question",
    "user-agent": _SDK,
    "x-amz-content-sha256": "follows from the body",
    "x-amz-date": _SIGNATURE,
    "x-amz-security-token": _SIGNATURE,
    "x-amzn-trace-id": _TRACING,
    "x-client-request-id": "new for every call",
    "x-cloud-trace-context": _TRACING,
    "x-goog-api-client": _SDK,
    "x-request-id": "new for every call",
}
EXCLUDED_PREFIXES: Mapping[str, str] = {
    "x-b3-": _TRACING,
    "x-datadog-": _TRACING,
    "x-fern-": _SDK,
    "x-stainless-": "names the SDK, its retry count and its timeout",
}
MEANINGFUL_HEADERS: Mapping[str, str] = {
    "accept": "the form of the answer",
    "anthropic-beta": "turns features on",
    "anthropic-version": "the API's version",
    "content-type": "the form of the question",
    "openai-beta": "turns features on",
    "openai-organization": "who asks",
    "openai-project": "who asks",
}
"""Headers the SDKs send that are known to matter. For people: one that is in no table is part of the key all the same,
and a test fails so that somebody looks at it."""

_PRINCIPAL_HEADERS = (b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key")
_BALANCER_COOKIES = (b"__cf", b"_cfuvid", b"__cflb", b"awsalb", b"awselb", b"gclb", b"arraffinity")
"""Set by whatever stands before the provider, new every half hour, and no part of who asks."""
_SIGV4 = b"AWS4-HMAC-SHA256"
_RENEWED_TOKENS = (b"ya29.", b"sk-ant-oat")
"""OAuth tokens of Google and Anthropic; others are known by being a JWT, or by the client that renews them."""


def principal(request: Request, secret: bytes) -> str:
    """Return a keyed digest of the credential, so that two API keys never share an answer.

    Of an AWS signature (version 4) the access key's id and the region count: the rest is new for every call.
    """
    said: list[bytes] = []
    for name, value in request.headers:
        known = _KNOWN.get(name) or _know(name)
        if not known.asks:
            continue
        if known.lower in _PRINCIPAL_HEADERS:
            said += known.lower, access_key_id(value) or value
        elif known.lower == b"cookie" and (kept := _cookies(value)):
            said += known.lower, kept
    return hmac.digest(secret, b"".join(part + b"\0" for part in said), "sha256").hex()


def access_key_id(authorization: bytes) -> bytes | None:
    """Return the access key's id and the region, marked as such, that an AWS signature names; None for others."""
    scheme, _, rest = authorization.partition(b" ")
    if scheme != _SIGV4:
        return None
    for part in rest.split(b","):
        name, _, value = part.strip().partition(b"=")
        if name == b"Credential":
            # Its scope is date, region, service: behind one URL of a gateway's, regions may be different models.
            key, *scope = value.split(b"/")
            return b" ".join((b"sigv4", key, *scope[1:2]))
    return None


def _cookies(value: bytes) -> bytes:
    each = (part.strip() for part in value.split(b";"))
    return b";".join(sorted(part for part in each if not part.lower().startswith(_BALANCER_COOKIES)))


def renews(request: Request) -> bool:
    """Whether the credential is one that is replaced every hour or so: an OAuth token, or AWS session credentials."""
    for name, value in request.headers:
        known = _KNOWN.get(name) or _know(name)
        if not known.asks:
            continue
        if known.lower == b"x-amz-security-token":
            return True
        if known.lower in _PRINCIPAL_HEADERS:
            token = value.rpartition(b" ")[2]
            if token.startswith(_RENEWED_TOKENS) or (
                token.startswith(b"eyJ") and token.count(b".") in {2, 4}
            ):
                return True
    return False


def is_signed(request: Request) -> bool:
    """Whether the credential is an AWS signature, whose access key's id tells principals apart."""
    return any(name.lower() == b"authorization" and access_key_id(value) for name, value in request.headers)


_OVER_BODY = frozenset((b"content-md5", b"content-digest", b"digest", b"signature", b"signature-input"))


def covers_body(request: Request) -> bool:
    """Whether a header says what the body is, so that another one would be refused: a signature, a digest (RFC 9530)."""
    return is_signed(request) or any(name.lower() in _OVER_BODY for name, _ in request.headers)


def credentials(request: Request) -> Headers:
    """Return the headers that say who asks; for background calls of the same process, never to be written."""
    return tuple((name, value) for name, value in request.headers if name.lower() in _PRINCIPAL_HEADERS)


def meaningful_headers(request: Request) -> list[tuple[str, str]]:
    """Return the headers that are part of the question, sorted, names in lower case."""
    kept = []
    for name, value in request.headers:
        known = _KNOWN.get(name) or _know(name)
        if known.excluded and (known.lower != b"host" or _is_host_of(request.origin, value)):
            continue
        kept.append((known.text, value.decode("latin-1")))
    return sorted(kept)


def unknown_headers(request: Request) -> Headers:
    """Return the headers that belong to the question and are in no table: kept in memory only, as they may say anything."""
    return tuple(
        (name, value)
        for name, value in request.headers
        if not is_excluded(text := name.decode("latin-1").lower()) and text not in MEANINGFUL_HEADERS
    )


def _is_host_of(origin: str, host: bytes) -> bool:
    return origin.endswith("://" + host.decode("latin-1"))


class _Name(NamedTuple):
    """What a header's name says, looked up once and not for every call: a hit is served in some tens of microseconds."""

    lower: bytes
    text: str
    excluded: bool
    asks: bool
    """it says who asks, or how long that stays true"""


_KNOWN: dict[bytes, _Name] = {}
_MOST_NAMES = 4096


def _know(name: bytes) -> _Name:
    if len(_KNOWN) >= _MOST_NAMES:  # an application that makes up names must not fill the memory
        _KNOWN.clear()
    text = name.decode("latin-1").lower()
    lower = name.lower()
    asks = lower in (*_PRINCIPAL_HEADERS, b"cookie", b"x-amz-security-token")
    known = _KNOWN[name] = _Name(lower, text, is_excluded(text), asks)
    return known


def is_excluded(header: str) -> bool:
    """Whether a header, its name in lower case, is left out of keys; the tables above say why."""
    return header in EXCLUDED_HEADERS or header.startswith(tuple(EXCLUDED_PREFIXES))


def cache_key(
    request: Request, body: Mapping[str, object], *, secret: bytes, tenant: str = "", renewed: bool = False
) -> str:
    """Return the key of a request: "pg1:" and 64 hex digits, SHA-256 over the canonical form of its parts.

    A credential that is renewed (`renewed`, or seen to be) gives way to `tenant` where there is one.
    Raises ValueError for a body that has no canonical form: numbers beyond what JSON can say.
    """
    parts = {
        "method": request.method,
        "origin": request.origin,
        "path": request.path,
        "headers": meaningful_headers(request),
        "principal": "" if tenant and (renewed or renews(request)) else principal(request, secret),
        "tenant": tenant,
        "body": canonical_numbers(body),
    }
    return f"{VERSION}:{hashlib.sha256(canonical_json(parts)).hexdigest()}"


_SETTINGS = (
    "generationConfig",
    "inferenceConfig",
    "options",
    "thinking",
    "thinkingConfig",
    "reasoning",
    "logit_bias",
)


def canonical_numbers(body: Mapping[str, object]) -> Mapping[str, object]:
    """Return a body whose parameters say one number in one way: `temperature` 0 for 0.0, `max_tokens` 100 for 1e2.

    JSON has one kind of number, so a provider that reads parameters cannot tell the two apart. Only the body's own members
    and those of its settings are looked at. What a model reads as text stays as it was sent, because there 1 and 1.0 are
    two texts: messages, tool calls and their results, and the enums and constants of JSON schemas.
    """
    changed: dict[str, object] = {
        name: int(value) for name, value in body.items() if isinstance(value, float) and value.is_integer()
    }
    for name in _SETTINGS:
        inner = body.get(name)
        if isinstance(inner, dict):
            changed[name] = canonical_numbers(inner)
    return {**body, **changed} if changed else body


def question_digest(request: Request, body: Mapping[str, object], secret: bytes) -> str:
    """Return a keyed digest of the question alone, without credential: equal for equal requests."""
    parts = [
        request.method,
        request.origin,
        request.path,
        meaningful_headers(request),
        canonical_numbers(body),
    ]
    return _keyed(canonical_json(parts), secret)


def cluster_digest(name: str, secret: bytes) -> str:
    """Return a keyed digest of a cluster the user named, so that a ledger does not tell who it was."""
    return _keyed(b"cluster\0" + name.encode("utf-8", "surrogatepass"), secret)


def subject_digest(name: str, secret: bytes) -> str:
    """Return a keyed digest of whom data is about, by which it is found again to be purged."""
    return _keyed(b"subject\0" + name.encode("utf-8", "surrogatepass"), secret)


_SUBJECT = "subject:"


def subject_tag(digest: str) -> str:
    """Return the tag that answers about a subject have in the cache."""
    return _SUBJECT + digest


def tagged_subject(tag: str) -> str:
    """Return the subject that such a tag names; empty for any other tag."""
    return tag.removeprefix(_SUBJECT) if tag.startswith(_SUBJECT) else ""


def _keyed(data: bytes, secret: bytes) -> str:
    # Keyed, because a plain digest of a short question can be guessed from the ledger.
    return hmac.new(secret, data, hashlib.sha256).hexdigest()[:32]
