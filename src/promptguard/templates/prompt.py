"""A prompt in memory, and one rendering of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from jinja2 import Undefined

from promptguard.core.effects import NoteOutcome
from promptguard.core.mistakes import checked_call, nearest
from promptguard.core.model import PromptReference
from promptguard.core.rollouts import Staged
from promptguard.errors import MissingVariable, PromptError, PromptSyntaxError, WrongVariable
from promptguard.templates.body import CompiledBody, Message, filled, holds_a_mark, place_of
from promptguard.templates.history import checked_history, checked_part, texts_of, with_history
from promptguard.templates.inputs import PARTS, Input
from promptguard.templates.limits import Sizes
from promptguard.templates.promptfile import PromptFile
from promptguard.templates.rendered import PROCESS, USED
from promptguard.templates.requests import Settings, request
from promptguard.templates.sandbox import Sandbox
from promptguard.templates.variables import plain

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "thread": (list,),
}


@dataclass(frozen=True, slots=True)
class Call:
    """One rendering: what to send, and which prompt it came from."""

    messages: list[Message]
    """plain JSON, as the chat completions protocol takes it"""
    name: str
    version: str
    """such as `triage@3`"""
    digest: str
    """digest of the prompt's content"""
    model: str | None
    _key: bytes = field(repr=False)
    _rendered: PromptReference = field(repr=False)
    _settings: Settings = field(repr=False, default_factory=Settings)

    def request(self, provider: str = "openai") -> dict[str, Any]:
        """Return the keyword arguments of an SDK's call: model, messages, options, form of the answer and tools.

        `provider` says whose shapes: "openai" (`chat.completions.create`), "anthropic" (`messages.create`) or
        "google-genai" (`models.generate_content`). The model is the one given to render(), else the file's. Raises
        ConfigurationError where the prompt says too little for a call: no model, or no limit of tokens for anthropic.

        >>> client.chat.completions.create(**prompt.render(ticket=ticket).request())  # doctest: +SKIP
        """
        return request(provider, self._settings, self.messages, self.model)

    def expect(self, reference: str) -> Call:
        """Say the true answer to this call, where the application knows it, and return the call itself."""
        PROCESS.expect(self._key, self._rendered, reference)
        return self


class Prompt:
    """One version of a prompt; immutable, safe to share between threads."""

    def __init__(
        self, file: PromptFile, name: str, version: str, sandbox: Sandbox, used: Callable[[], None]
    ) -> None:
        self.name = name
        self.version = version
        self.digest = file.digest
        self.filename = file.filename
        self.description = file.front.description
        self.classes: Mapping[str, str] = MappingProxyType(dict(file.front.labels))
        """label of an answer -> regular expression, in the order they are tried on it"""
        self.cases: tuple[object, ...] = tuple(file.front.cases)
        self.models: tuple[str, ...] = tuple(file.front.models)
        """globs of the models this variant was written for; empty: all"""
        self.tolerance: float | None = file.front.tolerance
        """the shift, a share of answers, up to which a model counts as working alike; None where the file says none"""
        self._used = used
        stated = file.front.inputs or {}
        threads = [name for name, each in stated.items() if each.kind == "thread"]
        self._thread = threads[0] if len(threads) == 1 else None
        self._body = CompiledBody(file.body, sandbox, file.filename, self._thread or "history")
        self.read: frozenset[str] = self._body.variables
        """the variables that the messages use"""
        self.source = file.text
        """the file as it is"""
        self.messages = tuple((one.role, one.text) for one in file.body.sections)
        """role and template of each message"""
        self._settings = file.settings
        self.inputs: Mapping[str, Input] = MappingProxyType(self._schema(file.front.inputs, self.read))
        self._placed = frozenset(
            name for name, each in self.inputs.items()
            if each.kind in PARTS or (each.kind == "thread" and name not in self._body.looped)
        )  # fmt: skip
        """variables that stand in a message's text as places, and are no text"""
        self._has_places = bool(self._placed) or self._body.has_thread_mark
        self._kinds: dict[str, str] = {name: each.kind for name, each in self.inputs.items()}
        asked = {name for name in self._body.optional if self.inputs[name].required is not True}
        may_lack = {
            name for name, each in self.inputs.items() if not each.is_required or each.kind == "thread"
        }
        self._demanded = frozenset(self.inputs.keys() - asked - may_lack)
        self._required = tuple(name for name in self.inputs if name in self._demanded - self._placed)
        self._defaults: dict[str, object] = {
            # what may be left out reads as empty text, and is not defined
            name: plain(each.default, name) if each.has_default else Undefined(name=name)
            for name, each in self.inputs.items() if each.has_default or name in may_lack - asked
        }  # fmt: skip
        self._defaults |= {name: Undefined(name=name) for name in self._placed}
        self._rendered = PromptReference(name, version, self.digest, label_rule=self.classes)
        self._group = self._rendered.group
        self._instead: Prompt | None = None

    @property
    def model(self) -> str | None:
        """The model that the file names; None where it names none."""
        return self._settings.model

    def request_of(self, messages: Sequence[Message], provider: str, model: str) -> dict[str, Any]:
        """Return the keyword arguments of an SDK's call that asks `messages` with this file's options and form.

        As `Call.request`, for messages that were rendered before.
        """
        return request(provider, self._settings, messages, model)

    @property
    def asks_for_json(self) -> bool:
        """Whether the file says what form the answer has, so that it is JSON."""
        return self._settings.answer is not None

    def is_for(self, model: str) -> bool:
        """Whether this variant was written for a model: its `models:` name it, or there are none."""
        return not self.models or any(fnmatchcase(model, glob) for glob in self.models)

    @property
    def demanded(self) -> frozenset[str]:
        """The variables that must be given."""
        return self._demanded

    def staged(self, staged: Staged, instead: Prompt | None = None) -> Prompt:
        """Return the same prompt, whose renderings are an arm of a rollout.

        `instead` is the version in use: rendered where this one cannot be with what the application gives, which counts as
        an unusable answer of this one.
        """
        same = copy.copy(self)
        same._rendered = replace(self._rendered, staged=staged)
        same._instead = instead
        return same

    def __repr__(self) -> str:
        return f"<Prompt {self.name}@{self.version} {self.digest[:15]}>"

    @checked_call
    def render(self, /, model: str | None = None, **variables: object) -> Call:
        """Fill in the variables and return the messages to send.

        `model` is the model the call is meant for. Every variable that the prompt names must be given, unless it has a
        default, is `required: false`, or the text asks for it with `default` or `is defined`; and none beside them. Values
        are text, numbers, booleans, lists and mappings. A history is a list of messages, `history=[{"role": ..., "content":
        ...}]`: data, never rendered. It takes the place of the prompt's `thread` input or of `![thread]`, else it stands
        before the last user message. A request made from `Call.messages` is recognised by the transport.

        Raises MissingVariable, WrongVariable (both ConfigurationErrors as well), PromptError for a value that no prompt
        can hold, RenderLimit.
        """
        if self._instead is None:
            return self._render(model, variables)
        instead, staged = self._instead, self._rendered.staged
        try:
            return self._render(model, dict(variables))
        except PromptError as error:
            if staged is not None:
                staged.table.offer(NoteOutcome(staged, None, type(error).__name__))
            return instead.render(model, **variables)

    def _render(self, model: str | None, variables: dict[str, object]) -> Call:
        sizes: Sizes = {}
        places = self._apart(variables) if self._has_places or "history" in variables else None
        values = self._checked(variables, sizes)
        if places is not None:
            values |= {name: place_of(name) for name in self._placed if places[name]}
        messages = self._body.render(values, sizes)
        own: Sequence[Mapping[str, str]] = messages
        if places is not None:
            messages, own = self._put_in(messages, places)
        self._used()
        key = PROCESS.remember(own, self._rendered)
        return Call(messages, self.name, self._group, self.digest, model, key, self._rendered, self._settings)

    def _apart(self, variables: dict[str, object]) -> dict[str, object]:
        """Take histories and images out of the variables: for each place a list of messages, or a part of one."""
        places: dict[str, object] = {name: [] for name in self._placed}
        if "history" in variables and "history" not in self.inputs:
            places[self._thread or "history"] = checked_history(
                variables.pop("history"), f"{self._place}: history"
            )
        for name in self._placed & variables.keys():
            kind, where = self._kinds[name], f"{self._place}: variable {name!r}"
            value = variables.pop(name)
            places[name] = (
                checked_history(value, where) if kind == "thread" else checked_part(kind, value, where)
            )
        for name in self._placed & self._demanded:
            if not places[name]:
                raise self._missing(name)
        return places

    def _put_in(
        self, rendered: list[Message], places: Mapping[str, object]
    ) -> tuple[list[Message], list[Mapping[str, str]]]:
        """Return all messages, and role and text of those that are the prompt's own."""
        told = list(filled(rendered, places))
        messages = [message for message, _ in told]
        own = texts_of([message for message, is_own in told if is_own])
        if any(holds_a_mark(message["content"]) for message in own):
            raise PromptError(
                f"{self._place}: a history or an image is put in as it is, and goes through no filter"
            )
        history = places.get(self._thread or "history")
        if isinstance(history, list) and history and all(is_own for _, is_own in told):
            messages = with_history(messages, history)
        return messages, own

    @contextmanager
    def use(self, reference: str | None = None) -> Iterator[None]:
        """Within this block, calls of this thread or task count as this prompt's, whatever their messages say.

        For what cannot be recognised: where the application edits the rendered text itself. `reference` is the true
        answer to the calls of the block, where it is known. Blocks may be nested: the innermost counts. A thread that is
        started within the block begins without it, an asyncio task with it. Raises PromptError when `reference` is no text.

        >>> with prompt.use():  # doctest: +SKIP
        ...     client.chat.completions.create(model="gpt-5.6", messages=edited(call.messages))
        """
        if reference is not None and not isinstance(reference, str):
            raise PromptError(f"{self._place}: use(reference=...) takes text, not {type(reference).__name__}")
        rendered = self._rendered
        token = USED.set(rendered if reference is None else replace(rendered, reference=reference))
        try:
            yield
        finally:
            USED.reset(token)

    def wrong_cases(self) -> Iterator[tuple[int, str]]:
        """Yield (number from 1, what is wrong) of the `cases` that render() would not take; renders nothing."""
        for number, case in enumerate(self.cases, 1):
            if not isinstance(case, Mapping) or not all(isinstance(key, str) for key in case):
                yield number, "it must be a mapping of variables, or have them under `inputs`"
                continue
            given = case.get("inputs", case)
            variables = dict(given) if isinstance(given, Mapping) else {}
            try:
                self._apart(variables)
                self._checked(variables, {})
            except PromptError as error:
                yield number, str(error)

    def _checked(self, variables: Mapping[str, object], sizes: Sizes) -> dict[str, object]:
        values = dict(self._defaults)
        for name, value in variables.items():
            kind = self._kinds.get(name)
            if type(value) is str and kind in {"any", "string"}:
                values[name] = value
            else:
                values[name] = self._copied(name, value, kind, sizes)
        for name in self._required:
            if name not in variables:
                raise self._missing(name)
        return values

    def _missing(self, name: str) -> MissingVariable:
        return MissingVariable(f"{self._place}: variable {name!r} is missing; write render({name}=...)")

    def _copied(self, name: str, value: object, kind: str | None, sizes: Sizes) -> object:
        if kind is None:
            known = ", ".join(self.inputs) or "none"
            meant = nearest(name, self.inputs)
            hint = "" if meant is None else f"; did you mean {meant!r}?"
            raise WrongVariable(
                f"{self._place}: there is no variable {name!r}; its variables are: {known}{hint}"
            )
        try:
            copied = plain(value, f"variable {name!r}", sizes)
        except PromptError as error:
            raise PromptError(f"{self._place}: {error}") from None
        if kind == "any":
            return copied
        if not isinstance(copied, _TYPES[kind]) or (isinstance(copied, bool) and kind != "boolean"):
            raise WrongVariable(
                f"{self._place}: variable {name!r} must be of kind {kind}, not {type(copied).__name__}"
            )
        return copied

    @property
    def _place(self) -> str:
        return f"{self.name}@{self.version} ({self.filename})"

    def _schema(self, stated: Mapping[str, Input] | None, read: frozenset[str]) -> dict[str, Input]:
        """Return the inputs the file states, or, where it states none, those its templates read."""
        if stated is None:
            return {name: Input() for name in sorted(read)}
        unknown = sorted(read - stated.keys())
        if unknown:
            raise PromptSyntaxError(
                f"{self.filename}: the text uses {unknown[0]!r}, which is not among its inputs"
            )
        return dict(stated)
