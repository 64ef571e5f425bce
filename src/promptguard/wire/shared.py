"""What every protocol needs: careful reading of JSON that may be anything, and the frame around reading an answer."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from urllib.parse import quote, unquote

from promptguard.core.model import Ambiguous, Facts, Headers, Reading, Request, TokenDetails
from promptguard.wire.encoding import decoded


def read_answer(status: int, headers: Headers, body: bytes, reader: Callable[[bytes], Reading]) -> Reading:
    """Give the decoded body to `reader`; whatever it cannot read becomes a reading with `complete=False`."""
    if status != 200:
        return Reading(text="", complete=False, error=f"status_{status}")
    plain = decoded(body, headers)
    if plain is None:
        return Reading(text="", complete=False, error="content_encoding")
    try:
        return _with_headers(reader(plain), headers)
    except (ValueError, RecursionError, TypeError, AttributeError, LookupError):
        return Reading(text="", complete=False, error="unreadable")


_SAYS_MODEL = b"x-ms-served-model"
_SAYS = (
    ("region", (b"x-ms-region", b"x-groq-region")),
    ("service_tier", (b"x-amzn-bedrock-service-tier",)),
    ("backend", (b"x-inference-provider", b"x-litellm-model-id")),
)
"""Headers that name who served. Bedrock's is in botocore's model of the service; the others were not checked against a
live provider. `x-ms-region` and `x-groq-region` are in public recordings, `x-ms-served-model` in openai-python#3271
(Azure's responses name the deployment in the body, the model here), the last two in the documentation of Hugging
Face's router and LiteLLM's proxy. Left out: `openai-version` (the API's), `x-ms-deployment-name` (what was asked for),
`anthropic-organization-id` (who asked), `azureml-model-session` (a machine's session, one of hundreds)."""


def _with_headers(reading: Reading, headers: Headers) -> Reading:
    """Add what headers say of who served: the model before the body's name, all else where the body is silent."""
    told = {name.lower(): value for name, value in headers}
    found: dict[str, str] = {}
    if served := told.get(_SAYS_MODEL):
        found["model"] = served.decode("latin-1")
    for attribute, names in _SAYS:
        value = next((told[name] for name in names if told.get(name)), None)
        if value is not None and getattr(reading.identity, attribute) is None:
            found[attribute] = value.decode("latin-1")
    return replace(reading, identity=replace(reading.identity, **found)) if found else reading


class _RepeatedMemberError(ValueError):
    """An object says one member twice."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _RepeatedMemberError
    return members


_STRICT = json.JSONDecoder(object_pairs_hook=_once)


def json_object(body: bytes) -> dict[str, object] | None:
    """Return the JSON object that `body` is, or None; an `Ambiguous` one where a member is said twice."""
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
        try:
            found = _STRICT.decode(text)
        except _RepeatedMemberError:
            found = json.loads(text)
            return Ambiguous(found) if isinstance(found, dict) else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def text(value: object) -> str | None:
    """Return text or None; anything else is no answer of a known protocol, and must not travel on as if it were text.

    Raises TypeError, which `read_answer` turns into an unreadable answer.
    """
    if value is None or isinstance(value, str):
        return value
    raise TypeError("text expected")


def name(value: object) -> str | None:
    """Return a name that is text, or None for whatever else a server may say there."""
    return value if isinstance(value, str) else None


def members(value: object) -> Mapping[str, object]:
    """Return an object's members; none for what is no object."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> tuple[object, ...]:
    """Return a list's items; none for what is no list."""
    return tuple(value) if isinstance(value, list) else ()


def said_by(turns: Iterable[object], *roles: str) -> tuple[object, ...]:
    """Return the messages of these roles; a role may be anything at all, and need not be hashable."""
    return tuple(turn for turn in turns if name(members(turn).get("role")) in roles)


def record(value: object) -> dict[str, object]:
    """Return an object. Raises TypeError for anything else, which `read_answer` turns into an unreadable answer."""
    if isinstance(value, dict):
        return value
    raise TypeError("object expected")


def records(value: object) -> list[dict[str, object]]:
    """Return a list of objects. Raises TypeError for anything else, as `record` does."""
    if not isinstance(value, list):
        raise TypeError("list expected")
    for item in value:
        if not isinstance(item, dict):
            raise TypeError("object expected")
    return value


def index(value: object) -> int:
    """Return the number of a part of an answer. Raises TypeError for what is none, as `record` does."""
    if isinstance(value, int):
        return value
    raise TypeError("index expected")


def count(value: object) -> int | None:
    """Return a number of tokens; None for what cannot be one, so that no server can lower what was spent."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def counts(*values: object) -> int | None:
    """Return the sum of the numbers of tokens among `values`, or None when there is none."""
    known = [n for n in map(count, values) if n is not None]
    return sum(known) if known else None


def number(value: object) -> float | None:
    """Return a number as a float, or None; one beyond floats is infinite."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


MOST_LOGPROBS = 4_096
"""tokens whose log-probabilities are read"""


def logprobs(tokens: object, member: str = "logprob") -> tuple[float, ...]:
    """Return the log-probabilities of an answer's tokens; what is none is left out."""
    found = [number(each.get(member)) for each in items(tokens)[:MOST_LOGPROBS] if isinstance(each, Mapping)]
    return tuple(each for each in found if each is not None and -1e4 < each <= 0.0)


def limit(value: object) -> int | None:
    """Return a request's limit of tokens, or None for what bounds nothing."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def arguments(value: object) -> str:
    """Return a tool call's arguments as canonical JSON: a server may send an object whole and as text when streamed.

    Text that is no JSON (a stream that broke off, a free-form tool) is returned as it is.
    """
    if isinstance(value, str):
        try:
            return json.dumps(json.loads(value), ensure_ascii=False, sort_keys=True)
        except (ValueError, RecursionError):
            return value
    return json.dumps({} if value is None else value, ensure_ascii=False, sort_keys=True)


_DEPLOYMENT = re.compile(
    r"(?P<before>.*/deployments/)(?P<model>[^/?]+)(?P<after>/(?:chat/completions|completions|embeddings)(?:\?.*)?)",
    re.DOTALL,
)
"""Azure names the deployment in the URL, and goes by that whatever the body says; its newer `/openai/v1` paths do not."""


def model_asked(request: Request, body: Mapping[str, object]) -> str | None:
    """Return the model that a request asks for: of an Azure deployment's path, else of the body; None without any."""
    found = _DEPLOYMENT.fullmatch(request.path)
    return name(body.get("model")) if found is None else unquote(found["model"])


def with_body_model(request: Request, facts: Facts, model: str) -> Request:
    """Return the request with another model named in its body, and where a path names it there too; all else as sent."""
    written = request.with_body({**facts.body, "model": model})
    return replace(written, path=path_for(request, facts, model))


def path_for(request: Request, facts: Facts, model: str) -> str:
    """Return where a call for `model` goes: to the same path, but for the deployment that Azure's paths name."""
    found = _DEPLOYMENT.fullmatch(request.path)
    if found is None or model == facts.model:
        return request.path
    return found["before"] + quote(model, safe="") + found["after"]


def same_path(request: Request, facts: Facts, model: str) -> str:  # noqa: ARG001 - the interface of protocols
    """Return where a background call goes: to the same path, for protocols that name the model in the body alone."""
    return request.path


def renamed(body: Mapping[str, object], facts: Facts, model: str) -> dict[str, object]:
    """Return a body that names `model`; one that asks for the same as before stays as it is."""
    return dict(body) if model == facts.model else {**body, "model": model}


def without(body: Mapping[str, object], dropped: frozenset[str]) -> dict[str, object]:
    """Return the members of a body less those of a background call's list."""
    return {k: v for k, v in body.items() if k not in dropped}


def without_text(modalities: object, text: str) -> str | None:
    """Why answers cannot be compared: the request names what it wants of the model, and text alone is compared."""
    wanted = [name(each) or "" for each in items(modalities)]
    return "answer with more than text" if any(each.upper() != text.upper() for each in wanted) else None


def asked_form(value: object) -> Mapping[str, object] | None:
    """Return a `response_format` that is an object, or None."""
    return value if isinstance(value, Mapping) else None


def json_schema(value: object) -> Mapping[str, object] | None:
    """Return a bare JSON schema as a `response_format` of OpenAI's chats, or None for what is no schema."""
    return {"type": "json_schema", "schema": value} if isinstance(value, Mapping) and value else None


def as_chat(system: object, turns: tuple[object, ...]) -> tuple[object, ...]:
    """Return turns as a chat's messages, a system text first: so a rendered prompt is recognised in every protocol."""
    return ({"role": "system", "content": system}, *turns) if system else turns


_DETAILS = {
    "cache_read": (
        "prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens", "cache_read_input_tokens",
        "cachedContentTokenCount", "cacheReadInputTokens",
    ),
    "cache_write": ("cache_creation_input_tokens", "cacheWriteInputTokens"),
    "reasoning": (
        "completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens", "thoughtsTokenCount",
    ),
}  # fmt: skip
"""Where providers say which of the tokens were special: member, or member.member, of what they call usage."""


_NAMES = frozenset(path.partition(".")[0] for paths in _DETAILS.values() for path in paths)
_NONE = TokenDetails()


def token_details(usage: Mapping[str, object]) -> TokenDetails:
    """Return which of the tokens were read from a prompt cache, written to one, or spent on thinking."""
    if _NAMES.isdisjoint(usage):
        return _NONE
    found = {
        name: next((count for path in paths if (count := _count_at(usage, path)) is not None), None)
        for name, paths in _DETAILS.items()
    }
    return TokenDetails(**found)


def _count_at(usage: Mapping[str, object], path: str) -> int | None:
    first, _, second = path.partition(".")
    found = usage.get(first)
    return count(members(found).get(second) if second else found)
