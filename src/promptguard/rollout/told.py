"""Outcomes from the ledger's rows, and evidence as JSON has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from promptguard.core.rollouts import Rollout
from promptguard.rollout.evidence import Evidence
from promptguard.rollout.judging import allowed, stands_against, words
from promptguard.rollout.outcome import Outcome


def outcome_of(row: Mapping[str, Any]) -> Outcome:
    """Return the outcome that a row of the ledger holds; what a damaged one says wrongly is not known."""
    step, answer = row["step"], row["answer"]
    return Outcome(
        row["rollout"], step if isinstance(step, int) else _NO_STEP, bool(row["treated"]), row["unit"], row["at"],
        _flag(row["usable"]), _flag(row["refused"]), _amount(row["usd"]), _amount(row["latency"]),
        answer if isinstance(answer, bytes) else None,
    )  # fmt: skip


_NO_STEP = -1


def _flag(value: object) -> bool | None:
    return bool(value) if value in (0, 1) else None


def _amount(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and 0.0 <= value < math.inf else None


def told_evidence(rollout: Rollout, evidence: Evidence) -> dict[str, Any]:
    """Return the evidence of a rollout as its steps keep it, and as JSON has it; log10 of e-values."""
    return {
        "pairs": evidence.pairs,
        "pairs_of_step": evidence.pairs_of(rollout.step),
        "outcomes": {"before": evidence.outcomes[0], "now": evidence.outcomes[1]},
        "log10_evidence": evidence.log / math.log(10),
        "log10_threshold": -math.log10(rollout.alpha),
        "guards": [
            {
                "guard": each.guard, "pairs": each.pairs, "log10_evidence": each.log_evidence / math.log(10),
                "bound": each.bound, "allowed": allowed(rollout, each), "before": each.mean_before, "now": each.mean_now,
                "lacks": words(rollout, each) if stands_against(rollout, each) else None,
            }
            for each in evidence.told()
        ],
    }  # fmt: skip
