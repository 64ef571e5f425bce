"""Facts of identity in words, for commands and pages alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from promptguard.core.identity import IdentityFact

NO_VERDICT = (
    "What the provider says of itself: a changed identity is no verdict, and a model can change behind the same name "
    "and fingerprint, which is why answers are compared."
)
_SHOWN = 4
_WORDS = {"model": "model", "fingerprint": "fingerprint", "service_tier": "service tier"}


def sentence(fact: IdentityFact) -> str:
    """Return one fact as a sentence; times are UTC."""
    what = _WORDS.get(fact.attribute, fact.attribute)
    if fact.kind == "resolved":
        itself = fact.value == fact.asked
        return (
            f"{fact.asked} is served {'under that name' if itself else f'by {fact.value}'} ({_answers(fact)})"
        )
    if fact.kind == "rewritten":
        return (
            f"{fact.asked} is served by {fact.value}, another name: a deployment, a router, or another model "
            f"({_answers(fact)})"
        )
    if fact.kind == "changed":
        return (
            f"{fact.asked}: {what} changed from {_some(fact.before)} to {_some(fact.after)} {_between(fact)}"
        )
    if fact.kind == "mixture":
        shares = [f"{value} {_percent(share)}" for value, share in fact.shares.items()]
        return f"{fact.asked}: {what} is a mixture of {_some(shares)} {_since(fact)}"
    return f"{fact.asked}: {what} was not reported in {_answers(fact)}"


def worth_telling(facts: Sequence[IdentityFact]) -> tuple[IdentityFact, ...]:
    """Return the facts for a short list: without silence about what most providers never tell."""
    return tuple(fact for fact in facts if fact.kind != "not_reported" or fact.attribute == "model")


def _answers(fact: IdentityFact) -> str:
    return f"{fact.answers:,} answer{'s' if fact.answers != 1 else ''}"


def _some(values: Sequence[str]) -> str:
    more = len(values) - _SHOWN
    return ", ".join(values[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "below 1 %"


def _since(fact: IdentityFact) -> str:
    return (
        f"since {_when(fact.since)}" if fact.ongoing else f"from {_when(fact.since)} to {_when(fact.until)}"
    )


def _between(fact: IdentityFact) -> str:
    since, until = _when(fact.since), _when(fact.until)
    return f"at {since}" if since == until else f"between {since} and {until}"


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
