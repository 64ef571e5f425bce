"""Fits the body of a request to a model: what would break, what is written instead, and whether it still asks the same."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptguard.compat.parts import CONDITIONS, CONVERTERS, Body
from promptguard.compat.ruleset import Endpoint, Note, Rule, RuleSet, Severity

_ORDER: tuple[Severity, ...] = ("lossless", "lossy", "blocking")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Applied:
    """One rule that a request met, at one field; `before` and `after` are its values, None where there is none."""

    rule: Rule
    field: str
    before: object = None
    after: object = None

    def sentence(self) -> str:
        """Return what would break, and what is written instead."""
        done = {
            "drop": f"`{self.field}` is left out",
            "rename": f"`{self.field}` becomes `{self.rule.to}`",
            "move": f"`{self.field}` becomes `{self.rule.to}`",
            "set": f"`{self.field}` becomes {self.after!r}",
            "clamp": f"`{self.field}` becomes {self.after!r}",
            "convert": f"`{self.field}` is written in another way",
            "block": f"`{self.field}` cannot be written for this model",
        }[self.rule.op]
        return f"{done}: {self.rule.why}"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A body as a model takes it, and how it came to be."""

    body: Body
    applied: tuple[Applied, ...]
    notes: tuple[Note, ...] = ()

    @property
    def severity(self) -> Severity | None:
        """The gravest of what was applied; None where nothing was."""
        found = [each.rule.severity for each in self.applied]
        return max(found, key=_ORDER.index) if found else None

    @property
    def is_comparable(self) -> bool:
        """Whether the model is still asked the same: its answer may then be compared."""
        return self.severity in (None, "lossless")


def fit(
    body: Mapping[str, Any],
    model: str,
    endpoint: Endpoint,
    rules: RuleSet,
    api_version: str = "",
    *,
    own: bool = False,
) -> Fitted:
    """Return `body` as `model` takes it.

    `endpoint` says whose shape the body has: "chat" and "responses" (OpenAI), "messages" (Anthropic), "generate" (Gemini).
    `api_version` is what the request says of the provider's API, such as "2026-10-21"; conditions on it hold for none where
    it is empty. `own`: the request was made for this very model, so rules about what other models leave behind do not
    hold. The body is not changed; an unknown model passes through untouched. Never raises, whatever the body holds.
    """
    fitting = [
        rule
        for rule in rules.rule
        if rule.endpoint == endpoint
        and rule.fits(model)
        and _of_version(rule, api_version)
        and not (own and rule.of_another)
    ]
    told = tuple(
        note
        for note in rules.note
        if note.endpoint == endpoint
        and note.fits(model)
        and any(_concerns(note, body, field) for field in note.fields)
    )
    if not fitting:
        return Fitted(dict(body), (), told)
    changed: Body = copy.deepcopy(dict(body))
    applied: list[Applied] = []
    for rule in fitting:
        # one after the other: what a rule has changed decides whether the next one holds
        for field in rule.fields:
            trial = copy.deepcopy(changed)
            try:
                done = _apply(rule, trial, field) if _holds(rule, trial, field, model, rules) else None
            except (TypeError, LookupError, AttributeError):  # a body of another form than the rule is about
                continue
            if done is not None:
                changed = trial
                applied.append(done)
    return Fitted(changed, tuple(applied), told)


def _of_version(rule: Rule, version: str) -> bool:
    # dates in this form compare as text
    return (not rule.api_from or version >= rule.api_from) and (
        not rule.api_before or version < rule.api_before
    )


def _concerns(note: Note, body: Mapping[str, Any], field: str) -> bool:
    value = _get(body, field)
    return value is not _MISSING and value is not None and not _is_one_of(value, note.unless.get(field, ()))


def _holds(rule: Rule, body: Mapping[str, Any], field: str, model: str, rules: RuleSet) -> bool:
    if not _concerns(rule, body, field):
        return False
    if rule.values is not None and not _is_one_of(_get(body, field), rule.values):
        return False
    if rule.effort_not and effort(body, model, rules) in rule.effort_not:
        return False
    return rule.if_ is None or CONDITIONS[rule.if_](body)


def effort(body: Mapping[str, Any], model: str, rules: RuleSet) -> str:
    """Return the reasoning effort that a request comes to: its own, else the model's default, else ""."""
    reasoning = body.get("reasoning")
    stated = body.get("reasoning_effort") or (
        reasoning.get("effort") if isinstance(reasoning, Mapping) else None
    )
    if isinstance(stated, str):
        return stated
    return next((each.default for each in rules.effort if each.fits(model)), "")


def _is_one_of(value: object, values: tuple[object, ...]) -> bool:
    """Whether a value is listed; 1 and 1.0 are the same, true and 1 are not."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in values)


def _apply(rule: Rule, body: Body, field: str) -> Applied:
    before = _get(body, field)
    after: object = None
    if rule.op in ("drop", "rename", "move"):
        _remove(body, field)
        if rule.op != "drop" and isinstance(rule.to, str) and _get(body, rule.to) in (_MISSING, None):
            _put(body, rule.to, before)
            after = before
    elif rule.op == "set":
        after = rule.to
        _put(body, field, after)
    elif rule.op == "clamp" and isinstance(before, int | float) and isinstance(rule.to, int | float):
        after = min(before, rule.to)
        _put(body, field, after)
    elif rule.op == "convert":
        CONVERTERS[str(rule.to)](body)
        after = _get(body, field)
    return Applied(rule, field, before, None if after is _MISSING else after)


def _get(body: Mapping[str, Any], field: str) -> object:
    value: object = body
    for part in field.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _remove(body: Body, field: str) -> None:
    *path, last = field.split(".")
    for part in path:
        body = body[part]
    del body[last]


def _put(body: Body, field: str, value: object) -> None:
    *path, last = field.split(".")
    for part in path:
        body = body.setdefault(part, {})
    body[last] = value
