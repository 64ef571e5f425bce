"""What answers become vectors by: the ledger's secret, and the rules of prompts that say which label an answer has."""

from __future__ import annotations

from promptguard.core.model import PromptReference
from promptguard.drift import LabelRule
from promptguard.ledger.store import Ledger


class JudgedBy:
    """The secret and the rules of one ledger, each read or made once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seed = (b"", b"")
        self._rules: dict[str, LabelRule] = {}

    def secret(self) -> bytes:
        """Return what keys hash features, which is the ledger's: another file has another."""
        ledger = self._ledger
        if not self._seed[1] or self._seed[0] != ledger.identity:
            seed = ledger.seed
            self._seed = ledger.identity, seed
        return self._seed[1]

    def rule(self, prompt: PromptReference | None) -> LabelRule | None:
        """Return the rule that labels answers of a prompt; None where it has none."""
        if prompt is None or not prompt.label_rule:
            return None
        if prompt.digest not in self._rules:
            self._rules[prompt.digest] = LabelRule(prompt.name, prompt.version, prompt.label_rule)
        return self._rules[prompt.digest]
