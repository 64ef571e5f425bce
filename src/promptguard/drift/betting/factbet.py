"""FactBet: bettors on what the sides of a pair say by place: JSON paths, tools, arguments, labels, right or wrong.

Each place has an expert for "is there", "is null", "has another type", "is larger" and "has another shape"; values seen
in two pairs have one each, and so has each switch between two of them. An expert bets on its own sign record, as the
features of `SwapBet` do: e = 1 + sign * (sum of signs) / (number of signs + 2 kappa), which has mean 1 when the sides can
be exchanged, whatever was seen before. So has their mixture, whose weights are fixed before the sides of a pair are told.

An expert is born with the first pair whose sides its event tells apart, before that pair is bet on: of n experts of its
kind each of the m newcomers then has 1/n of what the kind holds, those that were there share the rest. Until then the
kind's capital is not bet; having seen nothing, a newborn bets nothing on its first pair. Until the first answer with a
place there is no FactBet at all, and nothing is held back for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features.facts import Facts
from promptguard.drift.history.register import (
    EXPERTS,
    FIRST_SWITCH,
    FIRST_VALUE,
    PLACES,
    ROW,
    Register,
)

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_HELD, _HELD_OF_FEW, _FEW = 0.5, 0.25, 3
SHARE = 0.001
_KINDS = ("there", "null", "type", "order", "shape", "value", "switch")
_STARTS = (*(PLACES * number for number in range(5)), FIRST_VALUE, FIRST_SWITCH, EXPERTS)
_MASS = (0.15, 0.07, 0.07, 0.3, 0.08, 0.23, 0.1)

_DECAY, _TWICE_KAPPA = np.float32(0.99), np.float32(0.2)
_ROUNDED_UP = 1.0 + 1e-5
_FIRSTS = np.array(_STARTS[:-1])


def held_of(places: int) -> float:
    """Return the share of a group's capital that goes to FactBet when its first places appear, and back after each pair.

    Less where there is only a label, a short answer or whether it is right: the features see much of that too.
    """
    return _HELD if places > _FEW else _HELD_OF_FEW


class FactBet:
    """The learner of one group's facts. Some 20 KB once there are facts; about 35 microseconds a pair.

    In single precision: an expert's bet has mean 0 whatever its weight, so no rounding can make a game unfair, and
    everything is even in the sides.
    """

    __slots__ = ("_rest", "_returned", "idle", "register", "row", "signs", "unknown", "weights")

    def __init__(self) -> None:
        self.register = Register()
        self.unknown: NDArray[np.bool_] = np.ones(EXPERTS, dtype=bool)
        """experts whose event has never told the sides apart"""
        self.weights: Singles = np.zeros(EXPERTS, dtype=np.float32)
        self.idle = np.array(_MASS)
        """what kinds hold that have no expert yet: it is not bet"""
        self.signs: Singles = np.zeros((2, EXPERTS), dtype=np.float32)
        """decayed sums of the signs, and of their absolute values"""
        self.row: NDArray[np.uint8] = np.zeros(ROW, dtype=np.uint8)
        """how the last pair is remembered"""
        self._divide_prior()

    def score_then_learn(self, facts: Facts) -> float:
        """Return e of this pair under what was known before it, then learn from it."""
        signs, self.row = self.register.read(facts)
        moved = signs.astype(np.float32)
        either = np.abs(moved)
        newcomers = np.logical_and(signs, self.unknown).nonzero()[0]
        if len(newcomers):
            self._admit(newcomers)
        won = self.signs[0] / (self.signs[1] + _TWICE_KAPPA)
        won *= moved
        won *= self.weights
        payoff = 1.0 + float(np.add.reduce(won))
        # -- nothing above this line may depend on which side is which; nothing below it may reach back
        self.weights += won
        kept = (1.0 - SHARE) / payoff
        self.weights *= np.float32(kept)
        self.weights += self._returned
        self.idle *= kept
        self.idle += self._rest
        self.signs *= _DECAY
        self.signs[0] += moved
        self.signs[1] += either
        return payoff

    @property
    def least(self) -> float:
        """The least that any pair could pay now, or a little less: every expert that has a record proved wrong."""
        staked = self.weights * np.abs(self.signs[0]) / (self.signs[1] + _TWICE_KAPPA)
        return max(0.0, 1.0 - _ROUNDED_UP * float(np.add.reduce(staked)))

    def _admit(self, newcomers: NDArray[np.intp]) -> None:
        """Divide what each kind of expert holds between those that were there and those that come now."""
        kinds = np.searchsorted(_STARTS, newcomers, side="right") - 1
        for kind in sorted(set(kinds.tolist())):
            new = newcomers[kinds == kind]
            part = slice(_STARTS[kind], _STARTS[kind + 1])
            old = int(np.count_nonzero(~self.unknown[part]))
            held = float(np.add.reduce(self.weights[part])) if old else float(self.idle[kind])
            self.idle[kind] = 0.0
            self.weights[part] *= np.float32(old / (old + len(new)))
            self.weights[new] = held / (old + len(new))
            self.unknown[new] = False
        self._divide_prior()

    def _divide_prior(self) -> None:
        """Divide what flows back after each pair: a kind's experts have its mass in equal parts."""
        known = ~self.unknown
        counts = np.add.reduceat(known, _FIRSTS, dtype=np.intp)
        each = SHARE * np.array(_MASS) / np.maximum(counts, 1)
        self._returned: Singles = np.where(known, np.repeat(each, np.diff(_STARTS)), 0.0).astype(np.float32)
        self._rest: Floats = SHARE * np.where(counts > 0, 0.0, _MASS)

    def state_dict(self) -> dict[str, object]:
        """Return arrays and lists by name."""
        return {
            "register": self.register.state_dict(),
            "unknown": self.unknown,
            "weights": self.weights,
            "idle": self.idle,
            "signs": self.signs,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FactBet:
        """Rebuild a learner; it continues bit for bit. ValueError for arrays of another shape."""
        learner = cls()
        learner.register = Register.from_state(state["register"])
        for name in ("unknown", "weights", "idle", "signs"):
            found, expected = state[name], getattr(learner, name)
            if found.shape != expected.shape or found.dtype != expected.dtype:
                raise ValueError(f"state holds {name} of the wrong shape")
            setattr(learner, name, found.copy())
        learner._divide_prior()
        return learner
