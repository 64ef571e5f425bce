"""Requests as a model takes them: by which rules, and the application's own ones rewritten where it wants that."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache

from promptguard.compat.engine import Applied, Fitted, fit
from promptguard.compat.ruleset import Endpoint, RuleSet, rules_with
from promptguard.core.context import Rewritten
from promptguard.core.model import Ambiguous, Facts, Headers, Request, header
from promptguard.core.options import Compat

log = logging.getLogger("promptguard")

ENDPOINTS: dict[str, Endpoint] = {
    "openai_chat": "chat", "openai_responses": "responses", "anthropic_messages": "messages", "gemini": "generate",
}  # fmt: skip
"""Protocols that there are rules for."""
_MOST_TOLD = 1000
LEFT_ALONE_SECONDS = 600.0


def fitted(
    body: Mapping[str, object],
    headers: Headers,
    protocol: str,
    model: str,
    rules: str | None,
    *,
    own: bool = False,
) -> Fitted | None:
    """Return `body`, of a request in `protocol`, as `model` takes it; None where there are no rules for the protocol.

    `own`: it was made for this very model. `rules` is the path of the user's own; a file that was readable at wrap() and
    is not anymore counts as none.
    """
    endpoint = ENDPOINTS.get(protocol)
    if endpoint is None:
        return None
    version = header(headers, b"anthropic-version") or b""
    return fit(body, model, endpoint, _rules(rules), version.decode("latin-1"), own=own)


@lru_cache(maxsize=16)
def _rules(path: str | None) -> RuleSet:
    return rules_with(path)


class OwnRequests:
    """Writes the application's own requests as their model takes them. Safe to use from several threads.

    Parameters: `option` says how far it may go; `clock` gives monotonic seconds. What a server refuses as it was
    written, and takes as the application wrote it, is left alone for a while: the server knows better than a rule, and one
    odd answer must not decide for good.
    """

    def __init__(self, option: Compat, clock: Callable[[], float] = time.monotonic) -> None:
        self._option = option
        self._clock = clock
        self._left_alone: dict[tuple[str, str], float] = {}
        """(model, names of rules) → until when requests that these rules change are left as they are"""
        self._told: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def write(self, request: Request, facts: Facts, model: str, *, own: bool) -> Rewritten | None:
        """Return the request as `model` takes it; None where it stays as it is.

        `facts` are those of `request`; `own`: the application named this model itself.
        """
        if isinstance(facts.body, Ambiguous):
            return None
        found = fitted(facts.body, request.headers, facts.protocol, model, self._option.rules, own=own)
        if found is None or not found.applied or not self._may(found):
            return None
        rules = ",".join(dict.fromkeys(each.rule.id for each in found.applied))
        if self._left_alone.get((model, rules), 0.0) > self._clock():
            return None
        self._tell(model, found)
        return Rewritten(request.with_body(found.body), rules)

    def leave_alone(self, model: str, rules: str) -> None:
        """Leave requests that these rules would change as they are, for a while: their server takes them so."""
        with self._lock:
            known = (model, rules) in self._left_alone
            if not known and len(self._left_alone) >= _MOST_TOLD:
                return
            self._left_alone[model, rules] = self._clock() + LEFT_ALONE_SECONDS
        if not known:
            log.warning(
                "compat: the server of %s refused a request as the rules write it (%s) and took the application's own; "
                "such requests are left as they are for ten minutes. A rule may be wrong for it: see "
                "docs/reference/compatibility.md",
                model,
                rules,
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
