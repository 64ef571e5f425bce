"""Which places and values a group has seen, and the expert that each of them has: bounded, in the order of their coming.

Experts are numbered in five rows of `PLACES` (there, null, another type, order, shape), then `VALUES` values, then
`SWITCHES` switches from one value to another. A value has an expert once it was seen in two pairs, so that ids, which
never return, take no room. What comes too late shares the last place and is not bet on.
Nothing here depends on which side said what: records come ordered by digest, and new values are taken in by theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features.facts import Facts, event_signs, mark_signs

PLACES = 50
"""places told apart; the last one stands for all that came later"""
LAST = PLACES - 1
ASPECTS = ("there", "null", "type", "order", "shape")
VALUES, VALUES_OF_A_PLACE = 84, 12
SWITCHES = 42
FIRST_VALUE = len(ASPECTS) * PLACES
FIRST_SWITCH = FIRST_VALUE + VALUES
EXPERTS = FIRST_SWITCH + SWITCHES
CELL = 3
"""bytes a place in a remembered row: kinds, marks, values"""
ROW = CELL * PLACES
UNKNOWN = 15
"""code of a value without an expert; 0 is none"""
_WAITING = 256
_END = "\0"
_EVENTS, _MARKS = event_signs(), mark_signs()

Signs = NDArray[np.int8]
Digests = NDArray[np.uint32]
FactRow = NDArray[np.uint8]
"""what a pair says by place, as it is remembered: shape (ROW,)"""


class Register:
    """Places, values and switches of one group."""

    __slots__ = (
        "_codes",
        "_last",
        "_told",
        "places",
        "switches",
        "texts",
        "value_places",
        "values",
        "waiting",
    )

    def __init__(self) -> None:
        self.places: dict[int, int] = {}
        """numbers by digest"""
        self.values: dict[int, int] = {}
        """the same of values; a value's digest is of its place as well"""
        self.value_places: list[int] = []
        """the place of each value"""
        self._codes: list[int] = [UNKNOWN]
        """each value's code within its place, from 1; that of an unknown value last"""
        self.switches: dict[int, int] = {}
        """smaller value * VALUES + larger value, to the switch's number"""
        self.waiting: Digests = np.zeros(_WAITING, dtype=np.uint32)
        """values seen in one pair"""
        self.texts: dict[str, str] = {"places": "", "values": ""}
        """what numbers stand for, joined; nothing where it was never told"""
        self._told = 0
        """how many numbers have a text"""
        self._last: tuple[bytes, list[int], NDArray[np.intp]] = (b"", [], np.zeros(0, dtype=np.intp))
        """the places of the last pair, as digests and as numbers"""

    def read(self, facts: Facts) -> tuple[Signs, FactRow]:
        """Return the sign of every expert's event in a pair, and the row to remember it by."""
        asked = facts.places.tobytes()
        if asked != self._last[0]:  # answers of one form name the same places each time
            found = self._places(facts.places)
            self._last = asked, found, np.array(found)
        numbers, places = self._last[1:]
        signs = np.zeros(EXPERTS, dtype=np.int8)
        row = np.zeros((PLACES, CELL), dtype=np.uint8)
        of_places = signs[:FIRST_VALUE].reshape(len(ASPECTS), PLACES)
        of_places[:3, places] = _EVENTS.take(facts.kinds, axis=1)
        of_places[3:, places] = _MARKS.take(facts.marks, axis=1)
        cells = np.array(
            (facts.kinds, facts.marks, self._values(numbers, facts.values, signs)), dtype=np.uint8
        )
        row[places] = cells.T
        of_places[:, LAST] = 0
        row[LAST] = 0
        if facts.texts:
            self._learn(facts.texts)
        return signs, row.reshape(ROW)

    def _places(self, digests: Digests) -> list[int]:
        wanted, known = digests.tolist(), self.places
        found = [known.get(digest, LAST) for digest in wanted]
        if LAST in found and len(known) < LAST:
            for digest in wanted:
                if digest not in known and len(known) < LAST:
                    known[digest] = len(known)
            found = [known.get(digest, LAST) for digest in wanted]
        return found

    def _values(self, places: list[int], sides: Digests, signs: Signs) -> list[int]:
        """Set the signs of values and switches; return both sides' codes, the control's in the high half."""
        first, second = sides.tolist()
        found = self._codes_of(first, second, signs)
        if len(self.values) < VALUES and self._meet(places, first, second):
            signs[FIRST_VALUE:] = 0
            found = self._codes_of(first, second, signs)
        return found

    def _codes_of(self, first: list[int], second: list[int], signs: Signs) -> list[int]:
        """Return both sides' codes; set the signs of values and switches that are known."""
        codes, number = self._codes, self.values.get
        # most places hold the same on both sides: they are looked up once
        found = [17 * codes[number(digest, -1)] if digest else 0 for digest in first]
        if first == second:
            return found
        for at, (one, other) in enumerate(zip(first, second, strict=True)):
            if one != other:
                after = number(other, -1)
                found[at] = (found[at] & 240) | (codes[after] if other else 0)
                self._tell(number(one, -1), after, signs)
        return found

    def _tell(self, before: int, after: int, signs: Signs) -> None:
        """Set the signs of two values that differ, where they are known, and of the switch between them."""
        if before >= 0:
            signs[FIRST_VALUE + before] = -1
        if after >= 0:
            signs[FIRST_VALUE + after] = 1
            if before >= 0:
                self._switch(before, after, signs)

    def _meet(self, places: list[int], first: list[int], second: list[int]) -> bool:
        """Note values without an expert; those that were noted before become known. Returns whether any did."""
        waiting, held = self.waiting.data, len(self.values)
        # in the order of their digests, which knows no side
        for digest in sorted({*first, *second}.difference(self.values, (0,))):
            slot = digest % _WAITING
            if waiting[slot] != digest:
                waiting[slot] = digest
                continue
            place = places[(first if digest in first else second).index(digest)]
            if self._has_room(place):
                self.values[digest] = len(self.values)
                self.value_places.append(place)
        if held == len(self.values):
            return False
        self._codes = _codes(self.value_places)
        return True

    def _has_room(self, place: int) -> bool:
        few = len(self.values) < VALUES and self.value_places.count(place) < VALUES_OF_A_PLACE
        return few and place != LAST

    def _switch(self, before: int, after: int, signs: Signs) -> None:
        key = min(before, after) * VALUES + max(before, after)
        known = self.switches.get(key)
        if known is None:
            if len(self.switches) >= SWITCHES:
                return
            known = self.switches[key] = len(self.switches)
        signs[FIRST_SWITCH + known] = 1 if after > before else -1

    def _learn(self, told: Mapping[int, str]) -> None:
        """Keep the texts of what has a number here and none yet."""
        if self._told == len(self.places) + len(self.values):
            return
        self._told = 0
        for kind, known in (("places", self.places), ("values", self.values)):
            texts = self._texts(kind)
            texts += [""] * (len(known) - len(texts))
            for digest, number in known.items():
                texts[number] = texts[number] or told.get(digest, "").replace(_END, " ")
            self.texts[kind] = _END.join(texts)
            self._told += sum(map(bool, texts))

    def _texts(self, kind: str) -> list[str]:
        return self.texts[kind].split(_END) if self.texts[kind] else []

    def place(self, number: int) -> str:
        """Return the text of a place; empty where it was never told."""
        return dict(enumerate(self._texts("places"))).get(number, "")

    def value(self, number: int) -> str:
        """Return the text of a value; empty where it was never told."""
        return dict(enumerate(self._texts("values"))).get(number, "")

    def code(self, number: int) -> int:
        """Return the code of a value within its place."""
        return self._codes[number]

    def state_dict(self) -> dict[str, object]:
        """Return places, values, switches and texts as lists, in the order of their coming."""
        return {
            "places": list(self.places),
            "values": list(self.values),
            "value_places": list(self.value_places),
            "switches": list(self.switches),
            "waiting": self.waiting,
            "texts": dict(self.texts),
            "told": self._told,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Register:
        """Rebuild from `state_dict()`. ValueError for what is no state of a register."""
        found = cls()
        found.places = {int(digest): number for number, digest in enumerate(state["places"])}
        found.values = {int(digest): number for number, digest in enumerate(state["values"])}
        found.value_places = [int(place) for place in state["value_places"]]
        found.switches = {int(key): number for number, key in enumerate(state["switches"])}
        found.waiting = np.array(state["waiting"], dtype=np.uint32)
        found.texts = {kind: str(state["texts"][kind]) for kind in found.texts}
        found._told = int(state["told"])
        held = len(found.values)
        fits = len(found.places) <= LAST and held <= VALUES and len(found.switches) <= SWITCHES
        if not fits or len(found.value_places) != held or found.waiting.shape != (_WAITING,):
            raise ValueError("state holds places of the wrong number")
        found._codes = _codes(found.value_places)
        return found


def _codes(places: list[int]) -> list[int]:
    codes, held = [], dict.fromkeys(places, 0)
    for place in places:
        held[place] += 1
        codes.append(held[place])
    return [*codes, UNKNOWN]
