"""The cache key: everything that was sent, less what is named below with its reason.

A deny-list, never an allow-list: a field or header nobody has thought of becomes part of the key, so that the worst
mistake is a miss (keys that leave fields out returned foreign answers in litellm#42400 and langchain#40403).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from promptguard.core.canonical import canonical_json
from promptguard.core.model import Headers, Request

VERSION = "pg1"

EXCLUDED_HEADERS: Mapping[str, str] = {
    "accept-encoding": "changes the bytes on the wire, never the answer; the stored bytes are served as they came",
    "authorization": "in the key as a keyed digest of the principal, never in the clear",
    "api-key": "in the key as a keyed digest of the principal, never in the clear",
    "x-api-key": "in the key as a keyed digest of the principal, never in the clear",
    "baggage": "tracing",
    "connection": "about the connection, not the question",
    "content-length": "follows from the body",
    "cookie": "about the connection; providers do not answer by it",
    "host": "in the key as the origin",
    "idempotency-key": "new for every call",
    "traceparent": "tracing",
    "tracestate": "tracing",
    "transfer-encoding": "about the connection, not the question",
    "user-agent": "names the SDK's version, not the question",
    "x-amzn-trace-id": "tracing; huggingface_hub makes a new one for every call",
    "x-request-id": "new for every call",
}
EXCLUDED_PREFIXES: Mapping[str, str] = {"x-stainless-": "names the SDK, its retry count and its timeout"}

_PRINCIPAL_HEADERS = (b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key")


def principal(request: Request, secret: bytes) -> str:
    """Return a keyed digest of the credential, so that two API keys never share an answer."""
    mac = hmac.new(secret, digestmod=hashlib.sha256)
    for name, value in request.headers:
        if name.lower() in _PRINCIPAL_HEADERS:
            mac.update(name.lower() + b"\0" + value + b"\0")
    return mac.hexdigest()


def credentials(request: Request) -> Headers:
    """Return the headers that say who asks; for background calls of the same process, never to be written."""
    return tuple((name, value) for name, value in request.headers if name.lower() in _PRINCIPAL_HEADERS)


def meaningful_headers(request: Request) -> list[tuple[str, str]]:
    """Return the headers that are part of the question, sorted, names in lower case."""
    kept = []
    for name, value in request.headers:
        lower = name.decode("latin-1").lower()
        if lower in EXCLUDED_HEADERS or any(lower.startswith(prefix) for prefix in EXCLUDED_PREFIXES):
            continue
        kept.append((lower, value.decode("latin-1")))
    return sorted(kept)


def cache_key(request: Request, body: Mapping[str, Any], *, secret: bytes, tenant: str = "") -> str:
    """Return the key of a request: "pg1:" and 64 hex digits, SHA-256 over the canonical form of its parts."""
    parts = {
        "method": request.method,
        "origin": request.origin,
        "path": request.path,
        "headers": meaningful_headers(request),
        "principal": principal(request, secret),
        "tenant": tenant,
        "body": body,
    }
    return f"{VERSION}:{hashlib.sha256(canonical_json(parts)).hexdigest()}"


def question_digest(request: Request, body: Mapping[str, Any], secret: bytes) -> str:
    """Return a keyed digest of the question alone, without credential: equal for equal requests."""
    parts = [request.method, request.origin, request.path, meaningful_headers(request), body]
    return _keyed(canonical_json(parts), secret)


def cluster_digest(name: str, secret: bytes) -> str:
    """Return a keyed digest of a cluster the user named, so that a ledger does not tell who it was."""
    return _keyed(b"cluster\0" + name.encode("utf-8", "surrogatepass"), secret)


def _keyed(data: bytes, secret: bytes) -> str:
    # Keyed, because a plain digest of a short question can be guessed from the ledger.
    return hmac.new(secret, data, hashlib.sha256).hexdigest()[:32]


def unambiguous(body: bytes) -> bool:
    """Whether a JSON body has no repeated member names, which two parsers may read in two ways."""
    ambiguous = False

    def seen_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal ambiguous
        members = dict(pairs)
        ambiguous = ambiguous or len(members) != len(pairs)
        return members

    json.loads(body, object_pairs_hook=seen_once)
    return not ambiguous
