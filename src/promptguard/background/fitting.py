"""A sampled call's question as the second model takes it: converted and by rules, never another question unnoticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from promptguard import wire
from promptguard.compat.engine import Fitted
from promptguard.compat.requests import fitted
from promptguard.convert import converted
from promptguard.convert.question import CannotSayError
from promptguard.core.background_call import OtherServer
from promptguard.core.model import Facts, Request

NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True, slots=True)
class Written:
    """A question as it is sent.

    Attributes:
        body: what is sent
        rules: names of the rules that were applied, with commas between
        why_not: why it would be another question: the model, and the rules and fields, without values; "" where it is not
    """

    body: Mapping[str, object]
    rules: str = ""
    why_not: str = ""


def written(
    request: Request, facts: Facts, model: str, rules: str | None, server: OtherServer | None
) -> Written:
    """Return the question of a call as `model` takes it, of `server` where it is asked elsewhere.

    `rules` is the path of the user's own.
    """
    body: Mapping[str, object] = wire.named(facts.protocol).background_body(facts, model)
    if server is None and model == facts.model:
        return Written(body)
    protocol, headers, name = facts.protocol, request.headers, ""
    if server is not None:
        headers = tuple((key.encode(), value.encode("latin-1")) for key, value in server.headers.items())
        if server.protocol != protocol:
            name, protocol = f"{protocol}-to-{server.protocol}", server.protocol
            try:
                body = converted(body, facts.protocol, protocol, model)
            except CannotSayError as error:
                return Written(body, why_not=f"{model}: conversion ({error.field})")
    found = fitted(body, headers, protocol, model, rules)
    if found is None:
        return Written(body, name)
    if not found.is_comparable:
        return Written(body, why_not=f"{model}: {_grave(found)}")
    applied = dict.fromkeys(each.rule.id for each in found.applied)
    return Written(found.body, ",".join(each for each in (name, *applied) if each))


def _grave(found: Fitted) -> str:
    grave = [each for each in found.applied if each.rule.severity != "lossless"]
    return ", ".join(dict.fromkeys(f"{each.rule.id} ({each.field})" for each in grave))


def refusal_of(model: str, error: str) -> str:
    """Return why a model did not answer; with its name where its server says what of the question it does not take."""
    return f"{model}: {error}" if error.startswith("status_400: ") else error
