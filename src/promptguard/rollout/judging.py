"""What follows from the evidence of a rollout: nothing, the next step, a hold, the end, a rollback. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from promptguard.core.rollouts import Rollout
from promptguard.rollout.evidence import QUIET, Evidence, Told

NO_DATA_AFTER = 3
"""A guard without a value in so many times the least pairs of a step will never have one."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be noted of a rollout, and why."""

    kind: Literal["advance", "complete", "hold", "rollback"]
    why: str
    step: int = 0


def decide(rollout: Rollout, evidence: Evidence) -> Decision | None:
    """Return what follows, or None where everything stays as it is.

    Rollback: the mean of all guards' e-values has reached 1/alpha, so that over all looks, steps and guards together at
    most a share alpha of rollouts that worsen nothing is rolled back. The next step: `least_pairs` pairs were made at this
    one, and every guard rules out a worsening of `most` divided by the next share: what all traffic could lose is bounded
    at each step. A hold: `patience` pairs did not allow it, or a guard has no data.
    """
    if not rollout.is_live:
        return None
    if evidence.log >= -math.log(rollout.alpha):
        return Decision("rollback", _worst(evidence.told()))
    here = evidence.pairs_of(rollout.step)
    if rollout.state == "paused" or rollout.next_share is None or here < rollout.least_pairs:
        return None
    lacking = lacks(rollout, evidence.told())
    return _further(rollout, here) if lacking is None else _stuck(rollout, here, lacking)


def _further(rollout: Rollout, here: int) -> Decision:
    now, after = 100 * rollout.share, 100 * (rollout.next_share or 1.0)
    if rollout.step + 2 == len(rollout.steps):
        return Decision("complete", f"{here} pairs at {now:g} %: no guard stands against {after:g} %")
    return Decision("advance", f"{here} pairs at {now:g} %: on to {after:g} %", rollout.step + 1)


def _stuck(rollout: Rollout, here: int, lacking: Told) -> Decision | None:
    """Return a hold where more pairs are not likely to help; None while there is reason to wait."""
    has_no_data = lacking.pairs == 0 and here >= NO_DATA_AFTER * rollout.least_pairs
    if rollout.state == "held" or not (has_no_data or here >= rollout.patience):
        return None
    return Decision(
        "hold",
        f"not enough evidence to go on after {here} pairs at {100 * rollout.share:g} %: {words(rollout, lacking)}",
    )


def lacks(rollout: Rollout, told: tuple[Told, ...]) -> Told | None:
    """Return the first guard that stands against the next step, or None."""
    return next((each for each in told if stands_against(rollout, each)), None)


def stands_against(rollout: Rollout, told: Told) -> bool:
    """Whether a guard does not allow the next step yet."""
    if told.pairs == 0:
        return True
    if told.bound is None:
        return told.log_evidence >= QUIET
    return told.bound > allowed(rollout, told)


def allowed(rollout: Rollout, told: Told) -> float:
    """Return the worsening that a guard must rule out before the next step."""
    return min(1.0, rollout.most.get(told.guard, 1.0) / (rollout.next_share or 1.0))


def words(rollout: Rollout, told: Told) -> str:
    """Return what a guard lacks."""
    if told.pairs == 0:
        hint = "; is there a price for both models?" if told.guard == "cost" else ""
        return f"{told.guard} has no data{hint}"
    if told.bound is None:
        return f"{told.guard} differs, log10 evidence {told.log_evidence / math.log(10):.1f}"
    return f"{told.guard} may be worse by up to {told.bound:.2f}, {allowed(rollout, told):.2f} is the most"


def _worst(told: tuple[Told, ...]) -> str:
    worst = max(told, key=lambda each: each.log_evidence)
    change = ""
    if worst.mean_before is not None and worst.mean_now is not None:
        change = f": {figure(worst.guard, worst.mean_before)} -> {figure(worst.guard, worst.mean_now)}"
    verb = "differs" if worst.guard == "behaviour" else "is worse"
    evidence = worst.log_evidence / math.log(10)
    return f"{worst.guard} {verb}{change}, after {worst.pairs} pairs, log10 evidence {evidence:.1f}"


def figure(guard: str, mean: float) -> str:
    """Return a guard's mean as people read it."""
    if guard in ("usable", "refusal"):
        return f"{100 * mean:.0f} %"
    return f"{mean:.3g} USD" if guard == "cost" else f"{mean:.3g} s"
