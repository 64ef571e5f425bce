"""A sampled call's question as the second model takes it: by rules alone, and never another question unnoticed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from promptguard.compat.engine import Fitted, fit
from promptguard.compat.ruleset import Endpoint, RuleSet, rules_with
from promptguard.core.model import Facts, Request

ENDPOINTS: dict[str, Endpoint] = {
    "openai_chat": "chat", "openai_responses": "responses", "anthropic_messages": "messages", "gemini": "generate",
}  # fmt: skip
"""Protocols that there are rules for."""
NOT_COMPARABLE = "not_comparable"


def fitted(
    body: Mapping[str, object], request: Request, facts: Facts, model: str, rules: str | None
) -> Fitted | None:
    """Return the body of a background call as `model` takes it; None where there are no rules for its protocol.

    `rules` is the path of the user's own. A file that was readable at wrap() and is not anymore counts as none.
    """
    endpoint = ENDPOINTS.get(facts.protocol)
    if endpoint is None:
        return None
    version = next((value for name, value in request.headers if name.lower() == b"anthropic-version"), b"")
    return fit(body, model, endpoint, _rules(rules), version.decode("latin-1"))


@lru_cache(maxsize=16)
def _rules(path: str | None) -> RuleSet:
    return rules_with(path)


def reason_of(found: Fitted) -> str:
    """Return which rules make a question another one: their names and fields, without values."""
    grave = [each for each in found.applied if each.rule.severity != "lossless"]
    return ", ".join(dict.fromkeys(f"{each.rule.id} ({each.field})" for each in grave))


def names_of(found: Fitted | None) -> str:
    """Return the names of the rules that were applied, for the pair's row."""
    return "" if found is None else ",".join(dict.fromkeys(each.rule.id for each in found.applied))
