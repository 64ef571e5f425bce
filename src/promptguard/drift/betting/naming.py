"""Which of many groups changed: naming with a bounded share of wrong names, and the one that speaks for all."""

from __future__ import annotations

import math
from collections.abc import Mapping

from promptguard.drift.betting.evidence import Union
from promptguard.drift.betting.group import Group

_HOLDS, _NEAR = 0.9, math.log(10.0)
"""share of the groups' evidence from which one speaks for all, and how far from the bar it may be"""


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


def changed_groups(groups: Mapping[str, Group], alpha: float, horizon: int | None) -> tuple[str, ...]:
    """Name the changed groups of a stream that has alarmed, by e-BH over the evidence of this moment; the surest first."""
    if len(groups) < 2:
        return ()
    # a monitor's R_j has mean at most its pairs, which are at most the horizon
    divisor = math.log(horizon or 1)
    evidence = {name: math.exp(min(group.process.log - divisor, 700.0)) for name, group in groups.items()}
    found = e_bh(evidence, alpha)
    return tuple(sorted(found, key=lambda name: (-groups[name].process.log, name)))


def leading_group(
    groups: Mapping[str, Group], union: Union, named: tuple[str, ...], bar: float, count: int
) -> str | None:
    """Return the group that speaks for all pairs: where few changed, the others' pairs say what they happen to do.

    It is the one with the most evidence of those that may be named; before any may, the one that holds nearly all and
    would by itself be near an alarm, whose `bar` is a logarithm of evidence. `count` is how many groups have names.
    """
    if 2 * len(named) > count:
        return None
    if named:
        return named[0]
    leading, held = union.leading()
    near = leading is not None and groups[leading].process.log >= bar - _NEAR
    return leading if near and held >= _HOLDS else None
