"""Answers that occur in several pairs of a file: one stored answer beside five of today's, say.

Answers within such pairs depend on each other, and bettors win where nothing changed (10^34 on real answers). A model at
temperature 0 repeats itself as well, but then on both sides alike; so what is looked for is one side that repeats itself
for prompts for which the other does not.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from promptguard.report.pairs_file import PairLine

Side = Literal["control", "candidate"]
SIDES: tuple[Side, Side] = ("control", "candidate")
SHORTEST = 40
"""Characters of an answer that tells without a prompt that it stands in several pairs: shorter ones do by themselves."""
SURE = 20.0
"""Odds at which a repetition of one side alone is no accident."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """What repeats itself in a stream: the side, how many prompts (or texts) it does so for, and in how many pairs."""

    side: Side
    prompts: int
    pairs: int
    by_text: bool
    """there are no prompts: pairs belong together by the text that repeats itself"""

    def cluster(self, pair: PairLine) -> str | None:
        """Return what a pair's cluster is called; None where it has none."""
        return _digest(_text(pair, self.side)) if self.by_text else pair.prompt


@dataclass(slots=True)
class _Seen:
    pairs: int = 0
    texts: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))
    """digests of the different texts of control and candidate"""

    def add(self, *texts: str) -> None:
        self.pairs += 1
        for known, text in zip(self.texts, texts, strict=True):
            known.add(_digest(text))

    def repeats(self) -> tuple[bool, bool]:
        """Return whether the answers of one side alone stand in two pairs each, on average: control's, candidate's."""
        twice = [2 * len(known) <= self.pairs for known in self.texts]
        return twice[0] and not twice[1], twice[1] and not twice[0]


def find_repeated(pairs: Iterable[PairLine]) -> dict[str, Repeated]:
    """Return what repeats itself in each stream of a file, where something does."""
    by_prompt: dict[tuple[str, str], _Seen] = {}
    by_text: dict[tuple[str, Side, str], _Seen] = {}
    for pair in pairs:
        texts = _text(pair, "control"), _text(pair, "candidate")
        if pair.prompt is not None:
            by_prompt.setdefault((pair.stream, pair.prompt), _Seen()).add(*texts)
            continue
        for side, text in zip(SIDES, texts, strict=True):
            if len(text) >= SHORTEST:
                by_text.setdefault((pair.stream, side, _digest(text)), _Seen()).add(*texts)
    found: dict[str, Repeated] = {}
    for stream in sorted({key[0] for key in by_prompt} | {key[0] for key in by_text}):
        seen = [each for key, each in by_prompt.items() if key[0] == stream]
        own = [each for key, each in by_text.items() if key[0] == stream]
        repeated = _one_sided(seen, by_text=False) or _one_sided(own, by_text=True)
        if repeated is not None:
            found[stream] = repeated
    return found


def _one_sided(seen: list[_Seen], *, by_text: bool) -> Repeated | None:
    told = [(each.pairs, each.repeats()) for each in seen]
    counts = [sum(repeats[side] for _, repeats in told) for side in (0, 1)]
    side = int(counts[1] > counts[0])
    if _log_odds(counts[side], counts[1 - side]) < math.log(SURE):
        return None
    pairs = sum(number for number, repeats in told if repeats[side])
    return Repeated(SIDES[side], counts[side], pairs, by_text)


def _log_odds(first: int, second: int) -> float:
    """Return the log of the odds against two counts that a fair coin decides (Krichevsky-Trofimov)."""
    total = first + second
    return (
        total * math.log(2.0)
        + math.lgamma(first + 0.5)
        + math.lgamma(second + 0.5)
        - math.lgamma(total + 1.0)
        - math.log(math.pi)
    )


def _text(pair: PairLine, side: Side) -> str:
    return str((pair.control if side == "control" else pair.candidate)["text"])


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
