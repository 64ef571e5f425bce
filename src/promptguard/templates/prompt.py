"""A prompt in memory, and one rendering of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from promptguard.core.mistakes import checked_call, nearest
from promptguard.core.model import PromptReference
from promptguard.errors import MissingVariable, PromptError, PromptSyntaxError, WrongVariable
from promptguard.templates.limits import Sizes
from promptguard.templates.promptfile import Input, PromptFile
from promptguard.templates.rendered import PROCESS, USED
from promptguard.templates.sandbox import Sandbox
from promptguard.templates.variables import plain

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


@dataclass(frozen=True, slots=True)
class Call:
    """One rendering: what to send, and which prompt it came from."""

    messages: list[dict[str, str]]
    """plain JSON, as the chat completions protocol takes it"""
    name: str
    version: str
    """such as `triage@3`"""
    digest: str
    """digest of the prompt's content"""
    model: str | None
    _key: bytes = field(repr=False)
    _rendered: PromptReference = field(repr=False)

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
        self.labels: Mapping[str, str] = MappingProxyType(dict(file.front.labels))
        """label -> regular expression, in the order they are tried on an answer"""
        self.cases: tuple[object, ...] = tuple(file.front.cases)
        self.models: tuple[str, ...] = tuple(file.front.models)
        """globs of the models this variant was written for; empty: all"""
        self._used = used
        self._templates = tuple(
            (role, sandbox.template(text, file.filename, line)) for role, text, line in file.messages
        )
        self.read: frozenset[str] = frozenset().union(*(each.variables for _, each in self._templates))
        """the variables that the messages use"""
        self.source = file.text
        """the file as it is"""
        self.messages = tuple((role, text) for role, text, _ in file.messages)
        """role and template of each message"""
        self.inputs: Mapping[str, Input] = MappingProxyType(self._schema(file.front.inputs, self.read))
        self._kinds: dict[str, str] = {name: each.kind for name, each in self.inputs.items()}
        self._defaults = {
            name: plain(each.default, name) for name, each in self.inputs.items() if each.has_default
        }
        self._required = tuple(name for name, each in self.inputs.items() if each.is_required)
        self._rendered = PromptReference(name, version, self.digest, label_rule=self.labels)
        self._group = self._rendered.group

    def __repr__(self) -> str:
        return f"<Prompt {self.name}@{self.version} {self.digest[:15]}>"

    @checked_call
    def render(self, /, model: str | None = None, **variables: object) -> Call:
        """Fill in the variables and return the messages to send.

        `model` is the model the call is meant for. Every variable that the prompt names must be given or have
        a default, and none beside them; values are text, numbers, booleans, lists and mappings. The request
        made from `Call.messages` is recognised by the transport without more code.

        Raises MissingVariable, WrongVariable (both ConfigurationErrors as well), PromptError for a value that no prompt
        can hold, RenderLimit.
        """
        sizes: Sizes = {}
        values = self._checked(variables, sizes)
        messages = [
            {"role": role, "content": template.render(values, sizes)} for role, template in self._templates
        ]
        self._used()
        key = PROCESS.remember(messages, self._rendered)
        return Call(messages, self.name, self._group, self.digest, model, key, self._rendered)

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
            try:
                self._checked(given if isinstance(given, Mapping) else {}, {})
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
                raise MissingVariable(
                    f"{self._place}: variable {name!r} is missing; write render({name}=...)"
                )
        return values

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
