"""Which of many groups changed: naming with a bounded share of wrong names."""

from __future__ import annotations

import math
from collections.abc import Mapping


def e_bh(evidence: Mapping[str, float], alpha: float) -> set[str]:
    """Return the names whose change is declared, with an expected share of wrong ones of at most `alpha`.

    The e-BH procedure (Wang & Ramdas, "False discovery rate control with e-values", arXiv 2009.02824):
    the k largest e-values are named, k the largest number with e_(k) >= J / (alpha k), J all groups. It holds
    under any dependence between the groups.

    `evidence` holds e-values, not logarithms: a gate's product, or a monitor's R / H. They must be those of
    **one** moment, at report time: with running maxima or values latched at alarms, the promise is lost.
    ValueError for an alpha outside (0, 1) and for an e-value that is negative or not a number.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be a number between 0 and 1, not {alpha!r}")
    for name, value in evidence.items():
        if math.isnan(value) or value < 0.0:
            raise ValueError(f"evidence of {name!r} must be an e-value of at least 0, not {value!r}")
    ranked = sorted(evidence, key=lambda name: -evidence[name])
    count = 0
    for place, name in enumerate(ranked, 1):
        if evidence[name] * place * alpha >= len(ranked):
            count = place
    return set(ranked[:count])
