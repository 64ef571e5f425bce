"""What a run has come to, as a certificate."""

from __future__ import annotations

from promptguard.certifying.run import Course, Found, name_of_side
from promptguard.certifying.values import Side, Wish
from promptguard.templates.certificates import Certificate, Status

LAST_MONEY = 6
"""digits of a sum of money"""


def certificate_of(course: Course, found: Found, wish: Wish, *, by: str, source: str) -> Certificate:
    """Return the certificate of one subject, whatever its status."""
    side, examination = found.subject.side, found.examination
    status, why, changes = _status(course, found)
    return Certificate(
        name=side.prompt.name,
        version=side.prompt.version,
        model=side.model,
        status=status,
        by=by,
        why=why,
        digest=side.prompt.digest,
        served=_served(course, side),
        against=course.reference.reference,
        against_model=course.reference.model,
        against_served=_served(course, course.reference),
        pairs=examination.pairs,
        lost=examination.lost,
        tolerance=wish.tolerance,
        alpha=wish.alpha,
        bound=examination.bound,
        log10_evidence=round(examination.log10_evidence, 4),
        cases=(sum(not each for each in found.failures.values()), len(side.prompt.cases)),
        changes=changes,
        usd=round(course.used.usd, LAST_MONEY) if course.used.calls else None,
        calls=course.used.calls,
        source=source,
    )


def _served(course: Course, side: Side) -> tuple[str, ...]:
    return tuple(course.used.served.get(name_of_side(side), ()))


def _status(course: Course, found: Found) -> tuple[Status, str, tuple[str, ...]]:
    if found.failed:
        return _of_failed_cases(course, found)
    known = found.examination.known
    if known == "drifted":
        changes = found.examination.changes()
        return "drifted", "; ".join(changes[:3]) or "a shift beyond the tolerance", changes
    unlooked = len(found.subject.side.prompt.cases) - len(found.failures)
    if known == "certified" and unlooked:
        return "untested", f"{unlooked} of the file's cases have no answer: ask them (--budget)", ()
    if known == "certified":
        side, other = found.subject.side, course.reference
        is_same = (side.reference, side.model) == (other.reference, other.model) and not course.used.calls
        return "certified", "the same recorded answers on both sides" if is_same else "", ()
    return "untested", _unknown(course, found), ()


def _of_failed_cases(course: Course, found: Found) -> tuple[Status, str, tuple[str, ...]]:
    worse = [
        f"case {number} does not pass any more: {why}"
        for number, why in found.failed
        if course.reference_failures.get(number) == ""
    ]
    if worse:
        return "drifted", "; ".join(worse), tuple(worse)
    number, why = found.failed[0]
    if number in course.reference_failures:
        return "untested", f"case {number} fails on the reference as well: {why}", ()
    return "untested", f"case {number} fails, and the reference has no answer to it: {why}", ()


def _unknown(course: Course, found: Found) -> str:
    ended = course.ended or "it was interrupted"
    left = found.examination.left
    pairs = f"{found.examination.pairs} pairs"
    more = f", about {left} more would tell" if left else ""
    return f"{ended} after {pairs}{more}"
