"""The cases of a prompt's file: the questions that they are, and whether an answer is what they expect.

A case is a mapping of variables; or it has them under `inputs`, and beside them what is expected of the answer: `expect`
(the true answer), `label` (its class), `matches` (a regular expression). Every case expects that there is an answer which
is neither a refusal nor cut short, and JSON where the prompt asks for that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping

import re2

from promptguard.certifying.values import Expected, Question
from promptguard.core.canonical import digest
from promptguard.drift import Answer, LabelRule
from promptguard.drift.features.correctness import is_right
from promptguard.errors import PromptError, PromptSyntaxError
from promptguard.templates.prompt import Prompt

_TOLD = ("expect", "label", "matches")
_CUT = frozenset(("length", "content_filter"))


def cases_of(prompt: Prompt, key_of: Callable[[Mapping[str, object]], str | None]) -> Iterator[Question]:
    """Yield the cases of a prompt's file as questions. Raises PromptSyntaxError for one that cannot be asked.

    `key_of` returns the key of an equal question that is known already.
    """
    for number, problem in prompt.wrong_cases():
        raise PromptSyntaxError(f"{prompt.filename}: case {number}: {problem}")
    for number, case in enumerate(prompt.cases, 1):
        told = dict(case) if isinstance(case, Mapping) else {}
        inputs = told.get("inputs")
        has_inputs = isinstance(inputs, Mapping)
        variables: dict[str, object] = dict(inputs) if isinstance(inputs, Mapping) else told
        expected = _expected(prompt, number, told if has_inputs else {})
        key = key_of(variables) or digest("case", {"variables": variables})
        yield Question(key, variables, reference=expected.right, case=expected)


def _expected(prompt: Prompt, number: int, told: Mapping[str, object]) -> Expected:
    stated = {name: told[name] for name in _TOLD if told.get(name) is not None}
    for name, value in stated.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise PromptSyntaxError(f"{prompt.filename}: case {number}: {name} must be text")
    texts = {name: str(value) for name, value in stated.items()}
    label, pattern = texts.get("label"), texts.get("matches")
    if label is not None and label not in prompt.classes:
        known = ", ".join(prompt.classes) or "none"
        raise PromptSyntaxError(
            f"{prompt.filename}: case {number}: label {label!r} is no class of this prompt; its classes: {known}"
        )
    if pattern is not None:
        _compiled(pattern, f"{prompt.filename}: case {number}")
    return Expected(number, texts.get("expect"), label, pattern)


def _compiled(pattern: str, where: str) -> Callable[[str], object]:
    options = re2.Options()
    options.log_errors = False
    try:
        found: Callable[[str], object] = re2.compile(pattern, options).search
    except re2.error:
        raise PromptSyntaxError(
            f"{where}: matches is no regular expression that re2 knows (no look-around, no back-references)"
        ) from None
    return found


def failure(prompt: Prompt, expected: Expected, answer: Answer) -> str | None:
    """Return why an answer is not what a case expects; None where it is."""
    plain = _plain_failure(answer)
    if plain is not None:
        return plain
    text = answer.text
    if prompt.asks_for_json and not _is_json(text):
        return "the answer is no JSON"
    label = labels_of(prompt)
    found = None if label is None else label.label(text)
    if expected.label is not None and found != expected.label:
        return f"its class is {found or 'none'}, not {expected.label}"
    if expected.right is not None and not is_right(text, found, expected.right):
        return "it is not the expected answer"
    if expected.matches is not None and not _compiled(expected.matches, prompt.filename)(_clean(text)):
        return "it does not match"
    return None


def _plain_failure(answer: Answer) -> str | None:
    if answer.refusal:
        return "it was refused"
    if answer.finish_reason in _CUT:
        return f"the answer was cut ({answer.finish_reason})"
    if not answer.text.strip() and not answer.tool_calls:
        return "the answer is empty"
    return None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _clean(text: str) -> str:
    return re.sub(r"[\ud800-\udfff]", "?", text)


def labels_of(prompt: Prompt) -> LabelRule | None:
    """Return what reads the classes of a prompt off answers; None where it has none. PromptError for a rule of no use."""
    if not prompt.classes:
        return None
    try:
        return LabelRule(prompt.name, prompt.version, dict(prompt.classes))
    except ValueError as error:
        raise PromptError(f"{prompt.filename}: classes: {error}") from None
