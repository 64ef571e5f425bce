"""Changes by place: JSON paths, tools and arguments, in words that name the place and the values of both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from promptguard.drift.explain.contrasts import Contrast
from promptguard.drift.features import places as kinds
from promptguard.drift.features.places import (
    ANSWER,
    ARGUMENTS,
    CALLS,
    CERTAINTY,
    FIRST_CERTAINTY,
    KEYS,
    LABEL,
    RIGHT,
    TOOL,
)
from promptguard.drift.history.events import Event, events_of
from promptguard.drift.history.register import Register
from promptguard.drift.history.rows import Rows

_TIER, _TIER_OF_LENGTH, _TIER_OF_SHAPE, _TIER_OF_WORDS = 6.0, 5.0, 4.5, 3.0
_DEEPER = 0.001
"""how much less a place deeper by one counts: of an object that is missing, its members are missing too"""
_PLAIN = {TOOL: "tool", LABEL: "label", ANSWER: "the answer"}
_OWN_TIERS = {RIGHT: 8.0, LABEL: 1.0, CALLS: 3.9, CERTAINTY: 1.0, FIRST_CERTAINTY: 0.9}
"""right or wrong before all else; switches of labels behind labels, the number of calls behind that there is one"""
_TIER_OF_SWITCH = 4.4
"""behind the values: between two of them it is only told first where neither is said more often"""
_RISING = 0.01
"""of what came and what went, the former is told first"""
_BACKWARDS = {"order": "reverse", "shape": "unshape"}
_KINDS = {
    (kinds.NULL,): "null",
    (kinds.FALSE, kinds.TRUE): "a boolean",
    (kinds.TRUE,): "true",
    (kinds.NUMBER,): "a number",
    (kinds.STRING,): "a string",
    (kinds.LIST,): "a list",
    (kinds.OBJECT,): "an object",
    (kinds.MIXED,): "of several types",
}


def placed_contrasts(register: Register, rows: Rows, first_column: int) -> Iterator[Contrast]:
    """Yield the events that told the sides apart, as contrasts over `rows`; columns count from `first_column`."""
    for column, event in enumerate(events_of(register, rows), first_column):
        if not _is_told(register, event):
            continue
        told = _risen(event, rows)
        first, second = told.sides(rows)
        plus, minus = int(np.count_nonzero(second > first)), int(np.count_nonzero(second < first))
        if not plus + minus:
            continue
        totals = float(first.sum()), float(second.sum())
        rates = [total / len(rows) for total in totals]
        place = register.place(told.place)
        words = _words(register, told, rows)
        yield Contrast(
            f"{place or 'place'}:{told.aspect}" + "".join(f":{code}" for code in told.codes),
            _kind_of(place),
            _tier(register, told, rows, place) + _RISING * (plus > minus),
            True,
            words.phrase,
            totals,
            sum(rate * (1.0 - rate) for rate in rates) / 2.0,
            plus,
            minus,
            column,
            event=told,
            pattern=words.pattern,
            pairs=len(rows),
        )


def _kind_of(place: str) -> str:
    if place in (LABEL, ANSWER):
        return "label"
    if place == RIGHT:
        return RIGHT
    if place in (CERTAINTY, FIRST_CERTAINTY):
        return CERTAINTY
    return "tool" if place in (TOOL, CALLS) or place.startswith(ARGUMENTS) else "json"


def _is_told(register: Register, event: Event) -> bool:
    """Whether an event is told at all: labels have contrasts of their own, and of right and wrong one says it all."""
    place = register.place(event.place)
    if place == LABEL:
        return event.aspect == "switch"
    if place == ANSWER:
        return event.aspect in ("value", "switch")
    return place != RIGHT or event.aspect == "order"


def _risen(event: Event, rows: Rows) -> Event:
    """Return the event as what the candidate has more often: missing, not there; lower, not higher."""
    first, second = event.sides(rows)
    if float(first.sum()) <= float(second.sum()):
        return event
    if event.aspect == "there":
        return replace(event, aspect="missing")
    if event.aspect in _BACKWARDS:
        return replace(event, aspect=_BACKWARDS[event.aspect])
    return replace(event, codes=event.codes[::-1]) if event.aspect == "switch" else event


def _tier(register: Register, event: Event, rows: Rows, place: str) -> float:
    if place in _OWN_TIERS:
        return _OWN_TIERS[place]
    deeper = _DEEPER * (place.count(".") + place.count("["))
    if event.aspect in ("shape", "unshape"):
        return _TIER_OF_SHAPE - deeper
    if event.aspect == "switch":
        return _TIER_OF_SWITCH - deeper
    if event.aspect in ("order", "reverse") and _kind_at(event, rows) == kinds.STRING:
        # the length of one of a few words is a by-product of which word it is
        return (_TIER_OF_WORDS if event.place in register.value_places else _TIER_OF_LENGTH) - deeper
    return _TIER - deeper


def _kind_at(event: Event, rows: Rows) -> int:
    """Return the kind of what is compared at a place, by how often it is met."""
    packed = rows.cells[:, event.place, 0]
    packed = packed[(packed >> 4 != kinds.ABSENT) & (packed & 15 != kinds.ABSENT)]
    return int(np.bincount(packed & 15, minlength=16).argmax())


class _Words(NamedTuple):
    phrase: str
    """completes "answers with ..." """
    pattern: str
    """says it with both sides' shares, {0} of the control and {1} of the candidate"""


def _words(register: Register, event: Event, rows: Rows) -> _Words:
    place = register.place(event.place)
    name = _name(place)
    if place == RIGHT:
        one, other = ("wrong", "right") if event.aspect == "order" else ("right", "wrong")
        return _Words(f"{one} -> {other}", f"{one} -> {other} in {{1}} of answers, {other} -> {one} in {{0}}")
    if event.aspect in ("there", "missing"):
        there = name if event.aspect == "there" else f"{name} missing"
        return _Words(there, f"{there} {{0}} -> {{1}}")
    if event.aspect == "kind":
        kind = f"{name} {_KINDS.get(event.codes, 'of another type')}"
        return _Words(kind, f"{kind} {{0}} -> {{1}}")
    if event.aspect in ("value", "switch"):
        each = [_value(register, event, which) for which in range(len(event.codes))]
        values = " -> ".join(each)
        plain = place in _PLAIN or len(event.codes) > 1
        said = f"{_PLAIN.get(place, name)} {values}" if plain else f"{name} = {values}"
        if event.aspect == "value":
            return _Words(said, f"{said} {{0}} -> {{1}}")
        back = " -> ".join(reversed(each))
        return _Words(said, f"{said} in {{1}} of answers, {back} in {{0}}")
    return _compared(event, rows, place, name)


def _compared(event: Event, rows: Rows, place: str, name: str) -> _Words:
    if event.aspect in ("shape", "unshape"):
        said = "another order of keys" if place == KEYS else f"{name} written in another way"
        return _Words(said, f"{said} in {{1}} of answers")
    pair = (
        ("longer", "shorter") if _kind_at(event, rows) in (kinds.STRING, kinds.LIST) else ("higher", "lower")
    )
    more, less = pair if event.aspect == "order" else pair[::-1]
    return _Words(f"a {more} {name}", f"{name} {more} in {{1}} of answers, {less} in {{0}}")


def _name(place: str) -> str:
    if place in (CALLS, CERTAINTY, FIRST_CERTAINTY):
        return "number of calls" if place == CALLS else place
    if place.startswith(f"{ARGUMENTS}."):
        return f"argument `{place[len(ARGUMENTS) + 1 :]}`"
    return f"`{place}`" if place else "a field (its name is not kept)"


def _value(register: Register, event: Event, which: int) -> str:
    numbers = [number for number, place in enumerate(register.value_places) if place == event.place]
    text = next(
        (register.value(number) for number in numbers if register.code(number) == event.codes[which]), ""
    )
    return f"`{text}`" if text else "a value that is not kept"
