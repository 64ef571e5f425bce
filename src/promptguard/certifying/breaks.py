"""What would break if the prompts of a folder were asked of a model: their options, roles and form, by the rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from promptguard.certifying.asking import rest_shape
from promptguard.compat.engine import Applied, fit
from promptguard.compat.ruleset import Endpoint, RuleSet
from promptguard.errors import ConfigurationError, PromptError
from promptguard.templates.library import PromptLibrary
from promptguard.templates.lint import Finding
from promptguard.templates.prompt import Prompt


def breaks(library: PromptLibrary, model: str, rules: RuleSet, today: date) -> Iterator[Finding]:
    """Yield what `model` does not take of each version that is meant for it, and when the model ends.

    An `error` is what its server refuses. Versions that cannot be read are passed over: `lint` tells of them.
    """
    if not rules.knows(model):
        meant = rules.nearest(model)
        hint = f" (did you mean {meant}?)" if meant else ""
        yield Finding(
            "warning", model, f"no rule knows a model of this name{hint}: nothing is said of what it refuses"
        )
    yield from _end(model, rules, today)
    for name, versions in sorted(library.all_versions().items()):
        for version in versions:
            try:
                prompt = library.get(f"{name}@{version}")
            except PromptError:
                continue
            if prompt.is_for(model):
                yield from _of_version(prompt, f"{name}@{version}", model, rules)


def _end(model: str, rules: RuleSet, today: date) -> Iterator[Finding]:
    retired = rules.retirement(model)
    if retired is None:
        return
    after = f"; its successor is {retired.successor}" if retired.successor else ""
    sources = f" ({', '.join(retired.sources)})" if retired.sources else ""
    over = retired.ends <= today
    text = f"it {'ended' if over else 'ends'} on {retired.ends}{after}{sources}"
    yield Finding("error" if over else "warning", model, text)


def _of_version(prompt: Prompt, reference: str, model: str, rules: RuleSet) -> Iterator[Finding]:
    provider, endpoint = _provider(model)
    messages = [{"role": role, "content": text} for role, text in prompt.messages]
    try:
        body: dict[str, Any] = prompt.request_of(messages, provider, model)
    except (ConfigurationError, PromptError) as error:
        yield Finding("error", reference, f"on {model}: {error}")
        return
    found = fit(rest_shape(body) if endpoint == "generate" else body, model, endpoint, rules)
    for each in found.applied:
        yield Finding("error", reference, f"on {model}: {_told(each)}")
    for note in found.notes:
        yield Finding("warning", reference, f"on {model}: {note.why} ({', '.join(note.sources)})")


def _told(applied: Applied) -> str:
    rule = applied.rule
    code = " ".join(str(part) for part in (rule.error.status, rule.error.code) if part)
    return f"{applied.sentence()} (else {code}; {rule.severity}; {rule.id}: {', '.join(rule.sources)})"


def _provider(model: str) -> tuple[str, Endpoint]:
    """Return whose SDK a model is asked through, by its name; a router's prefix does not count."""
    name = model.lower().rpartition("/")[2]
    if name.startswith("claude"):
        return "anthropic", "messages"
    return ("google-genai", "generate") if name.startswith("gemini") else ("openai", "chat")
