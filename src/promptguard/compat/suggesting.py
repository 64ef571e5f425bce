"""The rule that a provider's refusal suggests, as TOML to be looked at and kept."""

from __future__ import annotations

import json
from datetime import date

from promptguard.compat.ruleset import Rule, RuleSet


def suggested(model: str, field: str, code: str, today: date, known: RuleSet) -> str:
    """Return a rule for a `model` that refused `field`, as TOML.

    Where a rule of another model knows the field, its way is taken; else the field is left out, which makes it another
    question: `lossy`, so that such pairs are counted and are no evidence. `code` is the server's own word for it.
    """
    like = next((rule for rule in known.rule if field in rule.fields and rule.op != "block"), None)
    lines = [
        "[[rule]]",
        f'id = "{_name(model)}-{_name(field)}"',
        _endpoint(like),
        f"models = [{json.dumps(_as_glob(model))}]",
        f"fields = [{json.dumps(field)}]",
        *(_way(like) if like is not None else ('op = "drop"', 'severity = "lossy"')),
        f"why = {json.dumps(f'{model} answered 400 to {field}' + (f' ({code})' if code else ''))}",
        'sources = ["seen by PromptGuard"]',
        f"checked = {today.isoformat()}",
    ]
    return "\n".join(lines) + "\n"


def _way(like: Rule) -> tuple[str, ...]:
    to = () if like.to is None else (f"to = {json.dumps(like.to)}",)
    return (f'op = "{like.op}"', *to, f'severity = "{like.severity}"')


def _endpoint(like: Rule | None) -> str:
    if like is not None:
        return f'endpoint = "{like.endpoint}"'
    return 'endpoint = "chat"  # or responses, messages, generate: whose shape your requests have'


def _as_glob(model: str) -> str:
    """Return the glob that fits this name alone."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in model.lower())


def _name(text: str) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in text.lower()).strip("-")
