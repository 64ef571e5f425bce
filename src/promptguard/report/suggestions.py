"""Rules of compatibility that a ledger's losses suggest: what a second model refused, and the rule that says so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from promptguard.report.model import PassedBy

_REFUSED = re.compile(
    r"(?P<model>[^\s:]+(?::[^\s:]+)*): status_400: (?P<field>[a-z][\w.\[\]]*)(?: (?P<code>\w+))?"
)
_ANOTHER = re.compile(r"(?P<model>\S+): (?P<rule>[a-z0-9-]+) \((?P<field>[\w.\[\]]+)\)(?:, .*)?")
_UNTOLD = frozenset(("messages", "input", "contents", "model"))
"""Fields whose refusal is no matter of a parameter."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a model does not take of questions, and what mends it.

    Attributes:
        model: the second model
        field: the parameter
        pairs: pairs that could not be compared
        rule: the rule that made it another question; "" where the server refused, and no rule knows
        code: the server's own word for it, or ""
    """

    model: str
    field: str
    pairs: int
    rule: str = ""
    code: str = ""

    @property
    def sentence(self) -> str:
        """What happened, and what to do."""
        counted = f"{self.pairs:,} pair{'' if self.pairs == 1 else 's'} not comparable"
        if self.rule:
            return (
                f"{self.model} cannot be asked with `{self.field}` as it is (rule {self.rule}): {counted}. Compare calls "
                "without it, or ask a model that takes it"
            )
        return (
            f"{self.model} refuses `{self.field}`: {counted}; add the rule that `promptguard compat suggest` writes, with "
            'Shadow(rules="rules.toml")'
        )


def suggestions(passed_by: Iterable[PassedBy]) -> tuple[Suggestion, ...]:
    """Return what the reasons of calls that were not paired suggest, the commonest first."""
    found = []
    for each in passed_by:
        if each.what != "not paired":
            continue
        refused, another = _REFUSED.fullmatch(each.reason), _ANOTHER.fullmatch(each.reason)
        # a rule is about a field of the body: of one within a list there is none to suggest
        if refused is not None and "[" not in refused["field"] and refused["field"] not in _UNTOLD:
            found.append(
                Suggestion(refused["model"], refused["field"], each.calls, code=refused["code"] or "")
            )
        elif another is not None:
            found.append(Suggestion(another["model"], another["field"], each.calls, rule=another["rule"]))
    return tuple(sorted(found, key=lambda one: -one.pairs))
