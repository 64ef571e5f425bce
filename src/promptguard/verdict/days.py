"""What a verdict says of days: how many there are to tell a change from, and which wobbled and came back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

WANTED = 7
"""Reference days from which on a change that is not sudden is judged."""
_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Wobble:
    """A day (counted from 1 January 1970) whose evidence would have rung and did not last; log10 of how much it was."""

    day: int
    log10_evidence: float

    @property
    def date(self) -> str:
        """The day, as ISO 8601."""
        try:
            return datetime.fromtimestamp(self.day * _SECONDS, UTC).strftime("%Y-%m-%d")
        except (OverflowError, ValueError, OSError):
            return str(self.day)


@dataclass(frozen=True, slots=True)
class DaysTold:
    """`reference` of the `wanted` past days are known; `unstable` are days on which the endpoint wobbled, oldest first."""

    reference: int
    wanted: int
    unstable: tuple[Wobble, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON values."""
        unstable = [
            {"date": each.date, "day": each.day, "log10_evidence": round(each.log10_evidence, 4)}
            for each in self.unstable
        ]
        return {"reference": self.reference, "wanted": self.wanted, "unstable": unstable}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> DaysTold:
        """Rebuild from JSON values."""
        unstable = tuple(Wobble(int(each["day"]), float(each["log10_evidence"])) for each in told["unstable"])
        return cls(int(told["reference"]), int(told["wanted"]), unstable)

    def sentence(self) -> str:
        """Return it in words; empty where there is nothing to say."""
        parts = []
        if self.reference < self.wanted:
            parts.append(
                f"{self.reference} of {self.wanted} reference days: until then only a sudden change is found."
            )
        if self.unstable:
            dates = ", ".join(each.date for each in self.unstable)
            parts.append(f"The endpoint was unstable on {dates}, and came back.")
        return " ".join(parts)
