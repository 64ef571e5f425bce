"""Missing answers: counted by reason; what is lost on one side is paid for out of the evidence.

Pairs lost on one side more than on the other are no longer exchangeable (dropping when the control failed:
.975 false alarms at .01). So a pair that lost one answer pays the least that *any* answer in its place could have
paid (`least` of the learners). Had it been there it would have paid at least that, and the process of all pairs is a
martingale: what is left is never above it, and the promise holds whatever decides which answers get lost. A pair that
lost both answers is lost by a rule that treats the sides alike, and costs nothing.

A round of sets that lost an answer pays the least that any round of its size could have paid.
"""

from __future__ import annotations

MOST_LOST = 0.2
"""share of offered pairs that may be missing"""
FEWEST_OFFERED = 20


class Losses:
    """Skipped pairs by reason.

    `control_...` and `candidate_...` are losses of one side; other reasons are symmetric.
    """

    __slots__ = ("by_reason",)

    def __init__(self, by_reason: dict[str, int] | None = None) -> None:
        self.by_reason = dict(by_reason or {})

    def count(self, reason: str) -> None:
        """Count one skipped pair."""
        self.by_reason[reason] = self.by_reason.get(reason, 0) + 1

    def of_side(self, side: str) -> int:
        """Return the pairs lost because this side alone was missing."""
        return sum(number for reason, number in self.by_reason.items() if reason.startswith(f"{side}_"))

    @property
    def one_sided(self) -> int:
        """How many pairs lost one answer, each of which was charged."""
        return self.of_side("control") + self.of_side("candidate")

    def problem(self, pairs: int) -> str | None:
        """Return why "no drift" cannot be said of the pairs that are left, or None."""
        if not self.by_reason:
            return None
        control, candidate = self.of_side("control"), self.of_side("candidate")
        missing = control + candidate + self.of_side("both")
        offered = pairs + missing
        if offered >= FEWEST_OFFERED and missing > MOST_LOST * offered:
            return "too many losses"
        return None

    def state_dict(self) -> dict[str, object]:
        """Return the counts."""
        return dict(self.by_reason)


def is_one_sided(reason: str) -> bool:
    """Whether a pair skipped for this reason had one answer."""
    return reason.startswith(("control_", "candidate_"))
