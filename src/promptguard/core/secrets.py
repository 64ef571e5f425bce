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
    r"|\bSG\.[\w-]{16,64}\.[\w-]{16,}|\b(?:shpat|shpca|shppa|shpss|dop_v1|doo_v1|dor_v1)_[a-f0-9]{20,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bx(?:app|ox[abeoprs])-[\w-]{10,}"
    r"|\bA[KS]IA[0-9A-Z]{16}\b|\bAIza[\w-]{35}|\bwhsec_[\w+/=]{20,}|\beyJ[\w-]{8,1024}\.eyJ[\w-]{8,4096}\.[\w-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\b[Bb]earer\s+(?=[\w.~+/-]*\d)[\w.~+/-]{20,}"
    r"|\b[Aa]uthorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?[Bb]asic\s{1,3}[A-Za-z0-9+/]{8,}={0,2}"
    r"|\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{0,64}:[^\s/@]{3,128}@"
)
"""What credentials of known issuers look like, wherever they stand: a key in a pasted log is one as well."""
_IN_TEXTS = re.compile(
    r"passw|passphrase|passcode|(^|_)(pswd|pwd)($|_)|(^|_)secret|connection_?string"
    r"|(access|account|api|app|master|private|ssh|storage|subscription)_?key($|_)"
    r"|(access|api|auth|bearer|refresh|sas|security|session)_?token"
    r"|(^|_)sig$|(amz|goog)_(credential|signature)"
)
"""Names, in the same spelling, that stand for a credential within a text as well. `key` and `token` stand for much else."""
_PASSWORD = re.compile(r"passw|pswd|pwd|passphrase|passcode")
"""A person has made it, perhaps of few letters; others are made by machines."""
_NAME_AND_SIGN = re.compile(
    r"""(?<![\w.-])([A-Za-z][\w.-]{0,60})["']?\s{0,3}([=:])(\s{0,3}["']?)""", re.ASCII
)
_VALUE = re.compile(r"""[^\s"',;&<>|]{6,256}""")
_CODE = re.compile(r"""[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?:[(\[].*)?|[$<{%].*|[*.xX_-]+""")
"""Instead of a value: a name, an expression, a call, a variable of a shell or a template, stars."""
_HINT = re.compile(r"pass|psw|pwd|secret|string|key|token|sig|credential", re.IGNORECASE)
"""What each of those names contains: most names are none."""
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_LONGER = 16
_LONG = 12
"""Characters of a credential that a machine has made, at least."""
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
    """Return whether an answer, as JSON, holds a credential; names count within its texts alone.

    An answer's own fields are the provider's, and some are named like one (`token` beside each log-probability).
    """
    return any(
        value and ((JSON_TEXT in place and _is_named(name)) or _is_one(value, held))
        for place, name, value in _texts(answer)
    )


def _is_one(value: str, held: Collection[str]) -> bool:
    """Whether a text is or contains a credential, whatever it is called."""
    return _holds(value, held) or _FORM.search(value) is not None or _assigns(value)


def _assigns(text: str) -> bool:
    """Whether a text gives a credential its value: `DB_PASSWORD=...`, `?sig=...`, `"api_key": "..."`; and is no code."""
    for found in _NAME_AND_SIGN.finditer(text):
        name, sign, between = found.groups()
        if _HINT.search(name) is None or _IN_TEXTS.search(_spelt(name)) is None:
            continue
        value = _VALUE.match(text, found.end())
        if value is not None and _is_value(
            name, value[0].rstrip(")]}.:!?"), is_plain=sign == "=" and not between
        ):
            return True
    return False


def _is_value(name: str, value: str, *, is_plain: bool) -> bool:
    has_digit = any(letter.isdigit() for letter in value)
    if _PASSWORD.search(_spelt(name)):
        # `DB_PASSWORD=correcthorse` is a line of an environment; `login(password=password)` is code
        is_word = _CODE.fullmatch(value) is not None and not has_digit
        return not value.startswith(("$", "<", "{", "%", "*")) and (
            not is_word or (is_plain and name.isupper())
        )
    return has_digit and len(value) >= _LONG and (_CODE.fullmatch(value) is None or _is_mixed(value))


def _is_mixed(value: str) -> bool:
    """Whether what could be a name is none that a person gives: hexadecimal, or letters of both cases and digits."""
    both = value != value.lower() and value != value.upper() and "_" not in value
    return len(value) >= _LONGER and (both or _HEX.fullmatch(value) is not None)


def held_by(request: Request) -> frozenset[str]:
    """Return the credentials of a request's own headers as texts, without their scheme ("Bearer ")."""
    values = {value.decode("latin-1") for name, value in request.headers if name.lower() in _OWN}
    return frozenset(values | {value.partition(" ")[2] for value in values} - {""})


def _is_named(name: str) -> bool:
    if name in _NO_CREDENTIALS:
        return False
    return _NAMED.search(_spelt(name)) is not None


def _spelt(name: str) -> str:
    """Return a name in lower case with `_` for every other sign: apiKey as api_key."""
    separated = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", separated.lower())


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
            in_text = JSON_TEXT in place
            for key, each in value.items():
                # Under a name like a credential's, everything is one; a key may be one itself.
                below = name if _is_named(name) else key
                if is_schema or (in_text and not _IN_TEXTS.search(_spelt(below))):
                    below = ""  # within a text `key` is a key of anything
                waiting.append((f"body {inside}{key}", below, each))
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
