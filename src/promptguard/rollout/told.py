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
    """Return the outcome that a row of the ledger holds."""
    usable, refused = row["usable"], row["refused"]
    return Outcome(
        row["rollout"], row["step"], bool(row["treated"]), row["unit"], row["at"], None if usable is None else bool(usable),
        None if refused is None else bool(refused), row["usd"], row["latency"], row["answer"],
    )  # fmt: skip


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
