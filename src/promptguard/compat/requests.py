"""Requests as a model takes them: by which rules, and the application's own ones rewritten where it wants that."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from functools import lru_cache

from promptguard.compat.engine import Applied, Fitted, fit
from promptguard.compat.ruleset import Endpoint, RuleSet, rules_with
from promptguard.core.model import Ambiguous, Facts, Headers, Request, header
from promptguard.core.options import Compat

log = logging.getLogger("promptguard")

ENDPOINTS: dict[str, Endpoint] = {
    "openai_chat": "chat", "openai_responses": "responses", "anthropic_messages": "messages", "gemini": "generate",
}  # fmt: skip
"""Protocols that there are rules for."""
_MOST_TOLD = 1000


def fitted(
    body: Mapping[str, object], headers: Headers, protocol: str, model: str, rules: str | None
) -> Fitted | None:
    """Return `body`, of a request in `protocol`, as `model` takes it; None where there are no rules for the protocol.

    `rules` is the path of the user's own. A file that was readable at wrap() and is not anymore counts as none.
    """
    endpoint = ENDPOINTS.get(protocol)
    if endpoint is None:
        return None
    version = header(headers, b"anthropic-version") or b""
    return fit(body, model, endpoint, _rules(rules), version.decode("latin-1"))


@lru_cache(maxsize=16)
def _rules(path: str | None) -> RuleSet:
    return rules_with(path)


class OwnRequests:
    """Writes the application's own requests as their model takes them. Safe to use from several threads.

    Parameters: `option` says how far it may go. A model whose server refuses what was written and takes what the
    application wrote is left alone from then on: the server knows better than a rule.
    """

    def __init__(self, option: Compat) -> None:
        self._option = option
        self._left_alone: frozenset[str] = frozenset()
        self._told: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def write(self, request: Request, facts: Facts, model: str) -> Request | None:
        """Return the request as `model` takes it; None where it stays as it is. `facts` are those of `request`."""
        if model in self._left_alone or isinstance(facts.body, Ambiguous):
            return None
        found = fitted(facts.body, request.headers, facts.protocol, model, self._option.rules)
        if found is None or not found.applied or not self._may(found):
            return None
        self._tell(model, found)
        return request.with_body(found.body)

    def leave_alone(self, model: str) -> None:
        """Write no further request to a model: its server takes what the application wrote."""
        with self._lock:
            if model in self._left_alone or len(self._left_alone) >= _MOST_TOLD:
                return
            self._left_alone = self._left_alone | {model}
        log.warning(
            "compat: the server of %s refused a request as the rules write it and took the application's own; its "
            "requests are left as they are from now on. A rule is wrong for it: see docs/reference/compatibility.md",
            model,
        )

    def _may(self, found: Fitted) -> bool:
        allowed = ("lossless",) if self._option.mode == "lossless" else ("lossless", "lossy")
        return found.severity in allowed

    def _tell(self, model: str, found: Fitted) -> None:
        new: list[Applied] = []
        with self._lock:
            for each in found.applied:
                if (model, each.rule.id) not in self._told and len(self._told) < _MOST_TOLD:
                    self._told.add((model, each.rule.id))
                    new.append(each)
        for each in new:
            level = logging.INFO if each.rule.severity == "lossless" else logging.WARNING
            log.log(level, "compat: for %s %s (rule %s)", model, each.sentence(), each.rule.id)
