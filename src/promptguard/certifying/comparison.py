"""Which versions and remedies restore the old behaviour on a model that changed, what each costs, and which is closest.

Every subject is judged as a certificate is, each with its share of alpha, so that with probability 1 - alpha none of those
that are said to restore the old behaviour differs by more than the tolerance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from promptguard.certifying.remedies import REMEDIES, Remedy
from promptguard.certifying.run import Course, Found, Subject, name_of_side
from promptguard.certifying.values import Side, Wish
from promptguard.errors import ConfigurationError
from promptguard.shadow.budget import list_price

Outcome = Literal["restores", "differs", "open"]
_ORDER: tuple[Outcome, ...] = ("restores", "open", "differs")


@dataclass(frozen=True, slots=True)
class Compared:
    """One version, as it answers or with a remedy.

    Attributes:
        reference: the version, such as `triage@4`
        remedy: the remedy's name, "" for the answer as it is
        what: what the remedy does
        outcome: `restores`: no feature shifted by more than the tolerance, and the cases pass; `differs`: some did, or a
            case fails that the reference passes; `open`: too few pairs to say
        pairs: pairs of answers compared
        changed: answers that the remedy changed
        bound: the smallest shift that the pairs exclude
        largest: the feature whose mean shifted most, and by how much; no bound
        changes: what differs, in words
        usd_per_thousand: a thousand calls at the tokens seen, by list price; None where price or tokens are not known
        is_of_answers: whether that is for answers alone, since nobody recorded the tokens of questions
    """

    reference: str
    remedy: str
    what: str
    outcome: Outcome
    pairs: int
    changed: int
    bound: float
    largest: tuple[str, float]
    changes: tuple[str, ...]
    usd_per_thousand: float | None
    is_of_answers: bool

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"{self.reference} with {self.what}" if self.remedy else f"{self.reference} as it answers"


@dataclass(frozen=True, slots=True)
class Comparison:
    """All of them, the closest first."""

    rows: tuple[Compared, ...]
    reference_usd: float | None
    """a thousand calls of the reference, as `Compared.usd_per_thousand`"""

    @property
    def closest(self) -> Compared:
        """The one that is nearest to the reference."""
        return self.rows[0]

    @property
    def sentence(self) -> str:
        """What to do, in one sentence."""
        best = self.closest
        if best.outcome == "restores":
            return (
                f"{best.name} restores the old behaviour: no feature shifted by more than {best.bound:.3g}."
            )
        if best.outcome == "open":
            return (
                f"closest is {best.name}: no drift found in {best.pairs} pairs, and a shift of more than {best.bound:.3g}"
                " is excluded; more pairs would tell"
            )
        return f"none restores the old behaviour; closest is {best.name}: {'; '.join(best.changes[:2])}"


def subjects_of(versions: Iterable[Side], remedies: Sequence[Remedy]) -> list[Subject]:
    """Return every version as it answers, and with each remedy."""
    return [Subject(side, remedy) for side in versions for remedy in (None, *remedies)]


def remedies_of(names: Sequence[str]) -> list[Remedy]:
    """Return the remedies of these names, all where none is given. Raises ConfigurationError for one that is not known."""
    for name in names:
        if name not in REMEDIES:
            raise ConfigurationError(f"--remedy {name}: give one of {', '.join(REMEDIES)}")
    return [REMEDIES[name] for name in dict.fromkeys(names or REMEDIES)]


def shared_wish(wish: Wish, subjects: int) -> Wish:
    """Return what each of so many subjects has to reach, so that alpha holds for all of them together."""
    return replace(wish, alpha=wish.alpha / subjects)


def comparison_of(course: Course) -> Comparison:
    """Return what a run has come to, the closest first."""
    rows = [_compared(course, found) for found in course.found]
    # a remedy that changes nothing is the answer as it is
    shown = [row for row in rows if not row.remedy or row.changed]
    shown.sort(key=lambda row: (_ORDER.index(row.outcome), row.bound, abs(row.largest[1]), bool(row.remedy)))
    usd, _ = _usd(course, course.reference)
    return Comparison(tuple(shown), usd)


def _compared(course: Course, found: Found) -> Compared:
    remedy, examination = found.subject.remedy, found.examination
    usd, is_of_answers = _usd(course, found.subject.side)
    return Compared(
        reference=found.subject.side.reference,
        remedy="" if remedy is None else remedy.name,
        what="" if remedy is None else remedy.what,
        outcome=_outcome(found),
        pairs=examination.pairs,
        changed=found.changed,
        bound=examination.bound,
        largest=examination.largest,
        changes=(*(f"case {number}: {why}" for number, why in found.failed), *examination.changes()),
        usd_per_thousand=usd,
        is_of_answers=is_of_answers,
    )


def _outcome(found: Found) -> Outcome:
    if found.failed or found.examination.known == "drifted":
        return "differs"
    looked_at = len(found.failures) == len(found.subject.side.prompt.cases)
    return "restores" if found.examination.known == "certified" and looked_at else "open"


def _usd(course: Course, side: Side) -> tuple[float | None, bool]:
    asked, answered, count = course.tokens.get(name_of_side(side), (0, 0, 0))
    price = list_price(side.model)
    if not count or price is None:
        return None, False
    usd = (price.input * asked + price.output * answered) / 1e6 / count * 1_000
    return round(usd, 6), not asked
