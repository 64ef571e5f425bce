"""What the rules of compatibility made of a sampled call's question, in the words of pairs and counters."""

from __future__ import annotations

from promptguard.compat.engine import Fitted

NOT_COMPARABLE = "not_comparable"


def reason_of(found: Fitted) -> str:
    """Return which rules make a question another one: their names and fields, without values."""
    grave = [each for each in found.applied if each.rule.severity != "lossless"]
    return ", ".join(dict.fromkeys(f"{each.rule.id} ({each.field})" for each in grave))


def refusal_of(model: str, error: str) -> str:
    """Return why a model did not answer; with its name where its server says what of the question it does not take."""
    return f"{model}: {error}" if error.startswith("status_400: ") else error


def names_of(found: Fitted | None) -> str:
    """Return the names of the rules that were applied, for the pair's row."""
    return "" if found is None else ",".join(dict.fromkeys(each.rule.id for each in found.applied))
