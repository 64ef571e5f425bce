"""How a change went on after it began: it came gradually, or it was taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["gradual", "taken_back"]


@dataclass(frozen=True, slots=True)
class Course:
    """What its most telling feature did.

    `gradual`: the mean difference of the sides grew from `first` (of the first third since the onset) to `last` (of the
    last third). `taken_back`: it was `first` until `pair`, and `last` from then on.
    """

    kind: Kind
    pair: int
    first: float
    last: float

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Course:
        """Rebuild from JSON values."""
        return cls(told["kind"], int(told["pair"]), float(told["first"]), float(told["last"]))

    def sentence(self) -> str:
        """Return it in words."""
        if self.kind == "gradual":
            return f"It came gradually: a difference of {self.first:.2f} grew to {self.last:.2f}."
        return f"It was taken back at about pair {self.pair}."
