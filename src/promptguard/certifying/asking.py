"""Asking a model itself, by the SDK client that the user gives: one request a question, its answer read as everywhere."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from promptguard import wire
from promptguard.certifying.spending import Purse
from promptguard.certifying.values import Answered, Question, Side, Stopped
from promptguard.compat.engine import Fitted, fit
from promptguard.compat.ruleset import Endpoint, RuleSet
from promptguard.core.background_call import ANSWER_SECONDS, reason_of, refused
from promptguard.core.mistakes import with_article
from promptguard.core.model import Reading
from promptguard.drift import Answer
from promptguard.errors import ConfigurationError, PromptGuardError
from promptguard.shadow.budget import Reservation

MOST_IN_A_ROW = 3
"""Missing answers of one side in a row after which nothing more is asked."""
_DENIED = frozenset((401, 403, 404))
_REFUSED = frozenset((400, 422))


class _Raw(Protocol):
    """What `with_raw_response` of OpenAI's and Anthropic's SDKs has."""

    def create(self, **arguments: object) -> Any: ...


class Door:
    """How one SDK's client is asked: which shapes it takes, and how its answer is read."""

    def __init__(
        self, provider: str, endpoint: Endpoint, protocol: str, send: Callable[[dict[str, Any]], bytes]
    ) -> None:
        self.provider, self.endpoint, self.protocol, self._send = provider, endpoint, protocol, send

    def send(self, body: dict[str, Any]) -> Reading:
        """Send one request and read its answer; raises what the SDK raises."""
        return wire.named(self.protocol).read_reply(200, (), self._send(body), streamed=False)


def door_of(client: object) -> Door:
    """Return how a client is asked. Raises ConfigurationError for one that cannot be."""
    kind = type(client)
    root = kind.__module__.partition(".")[0]
    if "Async" in kind.__name__:
        raise ConfigurationError(
            f"--client returns {with_article(kind.__name__)}: return its synchronous counterpart"
        )
    messages = getattr(client, "messages", None)
    if root == "anthropic" and messages is not None:
        return Door("anthropic", "messages", "anthropic_messages", _sender(messages.with_raw_response))
    completions = getattr(getattr(client, "chat", None), "completions", None)
    raw = getattr(completions, "with_raw_response", None)
    if raw is not None:
        return Door("openai", "chat", "openai_chat", _sender(raw))
    models = getattr(client, "models", None)
    if hasattr(models, "generate_content"):
        return Door("google-genai", "generate", "gemini", _google_sender(models))
    returned = with_article(f"{kind.__module__}.{kind.__qualname__}")
    raise ConfigurationError(
        f"--client returns {returned}, which cannot be asked: return a client of openai, or of an SDK of its kind, of "
        "anthropic or of google-genai"
    )


def _sender(raw: _Raw) -> Callable[[dict[str, Any]], bytes]:
    named = set(inspect.signature(raw.create).parameters)

    def send(body: dict[str, Any]) -> bytes:
        known = {name: value for name, value in body.items() if name in named}
        # what a rule has renamed need not be an argument of the SDK's
        more = {name: value for name, value in body.items() if name not in named}
        answered = raw.create(**known, **({"extra_body": more} if more else {}), timeout=ANSWER_SECONDS)
        content: bytes = answered.http_response.content
        return content

    return send


def _google_sender(models: Any) -> Callable[[dict[str, Any]], bytes]:  # an SDK that need not be installed
    def send(body: dict[str, Any]) -> bytes:
        answered = models.generate_content(**body)
        return str(answered.model_dump_json(by_alias=True, exclude_none=True)).encode()

    return send


class Asking:
    """A source that asks. Thread-safe.

    Parameters: `door` returns how a model is asked; `rules` fit requests to models; `purse` is what may be spent.
    """

    def __init__(self, door: Callable[[str], Door], rules: RuleSet, purse: Purse) -> None:
        self._door, self._rules, self._purse = door, rules, purse
        self._doors: dict[str, Door] = {}
        self._lock = threading.Lock()
        self._missed: dict[str, int] = {}

    def answer(self, side: Side, question: Question) -> Answered | None:
        """Ask one side, once. Raises Stopped where the budget is spent or the question would become another one."""
        door = self._of(side.model)
        body = request_of(side, question, door.provider)
        if body is None:
            return None
        body = self._fitted(body, side, door)
        size = len(json.dumps(body, default=str).encode())
        bound = wire.named(door.protocol).output_bound(body)
        held = self._purse.limiter.reserve(side.model, size, bound)
        if isinstance(held, str):
            raise Stopped("the budget is spent")
        return self._sent(door, body, side, held)

    def _of(self, model: str) -> Door:
        with self._lock:
            if model not in self._doors:
                self._doors[model] = self._door(model)
            return self._doors[model]

    def _fitted(self, body: dict[str, Any], side: Side, door: Door) -> dict[str, Any]:
        looked = rest_shape(body) if door.endpoint == "generate" else body
        fitted = fit(looked, side.model, door.endpoint, self._rules)
        if not fitted.is_comparable:
            raise Stopped(f"not comparable: {_told(fitted, side)}")
        if door.endpoint == "generate":
            if fitted.applied:
                raise Stopped(f"write it in the prompt's file: {_told(fitted, side)}")
            return body
        return fitted.body

    def _sent(self, door: Door, body: dict[str, Any], side: Side, held: Reservation) -> Answered:
        try:
            reading = door.send(body)
        except PromptGuardError:
            raise
        except Exception as error:  # noqa: BLE001 - an SDK may raise anything
            return self._failed(error, side, held)
        usd = self._purse.limiter.settle(held, reading.input_tokens, reading.output_tokens)
        if reading.error:
            return self._missing(reading.error, side, usd)
        with self._lock:
            self._missed[side.model] = 0
        answer = Answer(
            reading.text, finish_reason=reading.finish_reason, tool_calls=reading.tool_calls, refusal=reading.refusal,
            output_tokens=reading.output_tokens,
        )  # fmt: skip
        return Answered(
            answer, reading.identity.model or side.model, reading.input_tokens, usd, was_asked=True
        )

    def _failed(self, error: Exception, side: Side, held: Reservation) -> Answered:
        status = getattr(error, "status_code", getattr(error, "code", None))
        if not isinstance(status, int):
            return self._missing(reason_of(error), side, held.usd)
        self._purse.limiter.settle(held, 0, 0)  # an error costs nothing
        why = refused(status, getattr(error, "param", None), getattr(error, "code", None))
        if status in _DENIED:
            raise ConfigurationError(
                f"{side.model} cannot be asked: {why}; check the model's name, the key and the address, or give --client"
                " module:function"
            )
        if status in _REFUSED and "content_filter" not in why:
            raise Stopped(
                f"not comparable: {side.model} refuses the request of {side.reference} ({why}); write a rule for it"
                " (docs/reference/compatibility.md) or change the file's options"
            )
        return self._missing(why, side, 0.0)

    def _missing(self, why: str, side: Side, usd: float) -> Answered:
        with self._lock:
            self._missed[side.model] = self._missed.get(side.model, 0) + 1
            many = self._missed[side.model] >= MOST_IN_A_ROW
        if many:
            raise Stopped(f"{MOST_IN_A_ROW} answers of {side.model} in a row are missing: {why}")
        return Answered(Answer(error=why), usd=usd, was_asked=True)


def request_of(side: Side, question: Question, provider: str) -> dict[str, Any] | None:
    """Return the arguments of the SDK's call that puts a question to a side; None where that cannot be told."""
    prompt = side.prompt
    if question.variables is not None:
        return prompt.render(side.model, **dict(question.variables)).request(provider)
    if question.messages is not None and question.asked_as == side.reference:
        return prompt.request_of([dict(each) for each in question.messages], provider, side.model)
    return None


def _told(fitted: Fitted, side: Side) -> str:
    grave = [each for each in fitted.applied if each.rule.severity != "lossless"] or list(fitted.applied)
    said = "; ".join(f"{each.sentence()} ({each.rule.id})" for each in grave[:3])
    return f"{side.model} takes the request of {side.reference} only as another one: {said}"


_CAMEL = {
    "max_output_tokens": "maxOutputTokens", "top_p": "topP", "top_k": "topK", "stop_sequences": "stopSequences",
    "frequency_penalty": "frequencyPenalty", "presence_penalty": "presencePenalty",
}  # fmt: skip


def rest_shape(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the SDK of Gemini would send, as far as rules look at it."""
    config = body.get("config") or {}
    return {"generationConfig": {_CAMEL.get(name, name): value for name, value in config.items()}}
