"""Whether a request carries a credential, by the name of a field or by its value: what does is never written anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator

from promptguard.core.key import is_excluded
from promptguard.core.model import Request

_NAMED = re.compile(
    r"auth(?!or([^i]|$))|cookie|credential|passw|passphrase|passcode|secret|signature|connection_?string"
    r"|(access|account|api|app|master|private|ssh|storage|subscription)_?key"
    r"|(access|api|auth|bearer|id|refresh|sas|security|user)_?token"
    r"|(^|_)(sig|key|keys|cred|creds|jwt|pass|pat|pin|psk|pswd|pwd|token|otp|bearer)($|_)"
)
"""Names, in lower case with `_` for every other sign. `author`, `max_tokens` and `keyboard` are none."""
_NO_CREDENTIALS = frozenset(("prompt_cache_key",))
"""Fields of providers that are named like one: OpenAI's says which calls share a cache."""
_SCHEMAS = frozenset(("properties", "patternProperties", "$defs", "definitions"))
"""Within these, JSON Schema names what may be said, and nothing is."""

JSON_TEXT = " (JSON)"
"""In a place, behind a text that is JSON."""

_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_OWN = frozenset((
    b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key", b"cookie", b"x-amz-security-token",
))  # fmt: skip
"""Headers that say who asks."""
_FORM = re.compile(
    r"\b(?:sk|pk|rk)-[\w-]{20,}|\b[rs]k_(?:live|test)_\w{10,}|\b(?:gsk_|fw_|r8_|hf_|npm_)[A-Za-z0-9]{20,}"
    r"|\b(?:csk|pplx|xai)-[A-Za-z0-9]{20,}|\b(?:GOCSPX|glpat|nvapi|pypi)-[\w-]{15,}|\b(?:ya29|hvs)\.[\w-]{20,}"
    r"|\bSG\.[\w-]{16,}\.[\w-]{16,}|\b(?:shpat|shpca|shppa|shpss|dop_v1|doo_v1|dor_v1)_[a-f0-9]{20,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bx(?:app|ox[abeoprs])-[\w-]{10,}"
    r"|\bA[KS]IA[0-9A-Z]{16}\b|\bAIza[\w-]{35}|\bwhsec_[\w+/=]{20,}|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\b[Bb]earer\s+(?=[\w.~+/-]*\d)[\w.~+/-]{20,}"
    r"|\b[Bb]asic\s+(?=[A-Za-z+/]*[0-9=])[A-Za-z0-9+/]{12,}={0,2}"
    r"|\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{0,64}:[^\s/@]{3,128}@"
)
"""What credentials of known issuers look like, wherever they stand: a key in a pasted log is one as well."""
_ASSIGNED = re.compile(
    r"""(?<![\w.-])([A-Za-z][\w.-]{0,60})["']?(=|\s*[=:]\s*(?=\S{0,40}\d))"""
    # looked at, not taken: what seems a value may hold a name and its value itself
    r"""(?=["']?([^\s"'&;,<>$(){}\[\]]{6,})(?![^\s"'&;,<>]))""",
    re.ASCII,
)
"""A name and its value within a text: `DB_PASSWORD=...`, `?sig=...`, `password: ...` where there is a digit; no code."""
_WORD = re.compile(
    r"auth\w*|cookies?|creds?|jwt|keys?|otp|pass|pat|pin|secrets?|sig|signature|tokens?", re.IGNORECASE
)
"""Names that stand before a colon in ordinary texts too: a value of few letters is none there."""
_LONG = 16
_SHORTEST = 8
"""Characters from which on a held credential is looked for within longer values; shorter ones must be the whole value."""


def carries_credential(request: Request, held: Collection[str] = ()) -> str | None:
    """Return where `request` carries a credential that is not one of its own credential headers, or None.

    "query sig", "header x-acme-key", "body tools.0.headers.Authorization": the first field, by its name, that is named like
    a credential and holds a text, whose value has the form of one (an issuer's prefix, a token, `user:password@`,
    `DB_PASSWORD=...`), or is or contains one of `held`, the credentials that the client holds as texts. Texts that are
    JSON, such as the arguments of a tool, are read as such. The credentials of the request's own headers (authorization,
    x-api-key, cookies, ...) are held as well. Those headers themselves are not told: they are in no cache key, and whoever
    stores requests leaves them out.
    """
    texts = {*held, *held_by(request)} - {""}
    for place, name, value in _fields(request):
        named = _is_named(name) or ("session" in name and not place.startswith("body"))
        if value and (named or _is_one(value, texts)):
            return place
    return None


def answer_carries_credential(answer: object, held: Collection[str] = ()) -> bool:
    """Return whether an answer, as JSON, holds a credential; names count within texts that are JSON themselves alone.

    An answer's own fields are the provider's, and some are named like one (`token` beside each log-probability).
    """
    return any(
        value and ((_is_named(name) and JSON_TEXT in place) or _is_one(value, held))
        for place, name, value in _texts(answer)
    )


def _is_one(value: str, held: Collection[str]) -> bool:
    """Whether a text is or contains a credential, whatever it is called."""
    return (
        _holds(value, held)
        or _FORM.search(value) is not None
        or any(_is_assignment(*found.groups()) for found in _ASSIGNED.finditer(value))
    )


def _is_assignment(name: str, sign: str, value: str) -> bool:
    return _is_named(name) and (sign == "=" or len(value) >= _LONG or _WORD.fullmatch(name) is None)


def held_by(request: Request) -> frozenset[str]:
    """Return the credentials of a request's own headers as texts, without their scheme ("Bearer ")."""
    values = {value.decode("latin-1") for name, value in request.headers if name.lower() in _OWN}
    return frozenset(values | {value.partition(" ")[2] for value in values} - {""})


def _is_named(name: str) -> bool:
    if name in _NO_CREDENTIALS:
        return False
    separated = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)  # apiKey as api_key
    return _NAMED.search(re.sub(r"[^a-z0-9]+", "_", separated.lower())) is not None


def _holds(value: str, held: Collection[str]) -> bool:
    return any(value == each or (len(each) >= _SHORTEST and each in value) for each in held)


def _fields(request: Request) -> Iterator[tuple[str, str, str]]:
    """Yield (place, name, text) of everything that a request says, but its own credential headers."""
    path, _, query = request.path.partition("?")
    for pair in query.split("&"):
        name, _, value = map(_unquoted, pair.partition("="))
        yield f"query {name}", name, value
    yield "path", "", _unquoted(path)
    for raw, raw_value in request.headers:
        name = raw.decode("latin-1").lower()
        if not is_excluded(name):
            yield f"header {name}", name, raw_value.decode("latin-1")
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        yield "body", "", request.body.decode("utf-8", "replace")
        return
    yield from _texts(body)


def _unquoted(text: str) -> str:
    """Undo percent-encoding."""
    raw = text.replace("+", " ").encode("utf-8", "surrogatepass")
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), raw).decode("utf-8", "replace")


def _texts(body: object) -> Iterator[tuple[str, str, str]]:
    """Yield (place, name, text) of every text in a JSON value; a list's have the name of the list."""
    waiting: list[tuple[str, str, object]] = [("body", "", body)]
    while waiting:
        place, name, value = waiting.pop()
        if isinstance(value, str):
            yield place, name, value
            inner = _as_json(value)
            if inner is not None:
                waiting.append((place + JSON_TEXT, name, inner))
        elif isinstance(value, dict):
            inside = "" if place == "body" else place.removeprefix("body ") + "."
            is_schema = place.rpartition(".")[2] in _SCHEMAS
            for key, each in value.items():
                # Under a name like a credential's, everything is one; a key may be one itself.
                waiting.append(
                    (f"body {inside}{key}", "" if is_schema else name if _is_named(name) else key, each)
                )
                if len(key) >= _SHORTEST:
                    yield place, "", key
        elif isinstance(value, list):
            inside = "" if place == "body" else place.removeprefix("body ") + "."
            waiting += [(f"body {inside}{number}", name, each) for number, each in enumerate(value)]


def _as_json(text: str) -> object:
    """Return the object or list that a text is, None for any other text."""
    if text.lstrip()[:1] not in {"{", "["}:
        return None
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None
