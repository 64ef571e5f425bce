"""What is remembered of past pairs: exact integer tallies of all, compressed rows of the last few hundred.

A remembered feature is one byte, the square root of its value in 255ths: small shares keep their sign, and a
block of rows compresses to about 20 bytes a pair. Tallies are sums of those bytes' squares as integers, so
that differences of tallies ("all but what came before the onset") are exact and replays agree bit for bit.
Memory is bounded: some 400 to 500 rows before an alarm, at most 900 after it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features.catalogue import COUNT, SCALE
from promptguard.drift.features.facts import correctness_of
from promptguard.drift.features.vector import PairVector
from promptguard.drift.history.rows import BLOCK, MERGED, PLAIN, Block, Rows, widened
from promptguard.drift.history.tally import NO_LABEL, UNLISTED, Tally

BEFORE_ALARM = 500
MOST_BYTES = 10_500
"""of compressed rows before the alarm: answers of many places, all different, are remembered for fewer pairs"""
ONSET_AFTER_ALARM = 100
TAIL = 300
NO_EDGE = -128
"""in place of an edge: the two answers have the same wording"""
_MOST_LABELS = 64
_MOST_REFERENCES = 32
_MOST_LABEL_CELLS = 256
_ROOTS: NDArray[np.uint8] = np.rint(255.0 * np.sqrt(np.arange(SCALE + 1) / SCALE)).astype(np.uint8)


class Labels:
    """Label spellings by code; compared case-folded; at most 64 are told apart."""

    __slots__ = ("_codes", "names")

    def __init__(self, names: list[str] | None = None) -> None:
        self.names = list(names or ())
        self._codes = {name.casefold(): code for code, name in enumerate(self.names)}

    def code(self, name: str | None, most: int = _MOST_LABELS) -> int:
        """Return the code of `name`, learning it while fewer than `most` are known."""
        if name is None:
            return NO_LABEL
        key = name.casefold()
        code = self._codes.get(key)
        if code is None:
            if len(self.names) >= most:
                return UNLISTED
            code = self._codes[key] = len(self.names)
            self.names.append(name)
        return code


class History:
    """The past of one group: tallies of all pairs and of those `dropped` before the alarm, and recent rows."""

    __slots__ = (
        "_blocks",
        "_counts",
        "_dropped",
        "_passed",
        "_pending",
        "_tail",
        "_young",
        "alarm_at",
        "labels",
        "pairs",
    )

    def __init__(self) -> None:
        self.pairs = 0
        self.labels = Labels()
        self.alarm_at: int | None = None
        self._dropped = Tally()
        """pairs forgotten before the alarm"""
        self._passed: Tally | None = None
        """pairs forgotten after the alarm"""
        self._blocks: list[Block] = []
        self._tail: list[Block] = []
        self._young: list[Block] = []
        self._pending = np.zeros((BLOCK, PLAIN), dtype=np.uint8)
        """rows that are not compressed yet; as wide as WIDTH once something was said by place"""
        self._counts = [0] * 6

    def add(
        self,
        vector: PairVector,
        edge: int = NO_EDGE,
        facts: NDArray[np.uint8] | None = None,
        roots: NDArray[np.uint8] | None = None,
    ) -> None:
        """Remember one pair.

        `edge` is what the text hash bet on the truth, in 127ths, made before it was told; `facts` is the row of the
        group's register; `roots` are `roots_of(vector)`, where somebody has them already.
        """
        if facts is not None:
            self._pending = widened(self._pending)
        row = self._pending[self.pairs % BLOCK]
        row[: 2 * COUNT] = roots_of(vector) if roots is None else roots
        first, second, wanted = self._codes(vector) if _named(vector) else (NO_LABEL,) * 3
        # one by one, here and below: five numbers at once, and a loop over six, take three times as long
        row[2 * COUNT] = first & 255
        row[2 * COUNT + 1] = second & 255
        row[2 * COUNT + 2] = wanted & 255
        row[2 * COUNT + 3] = _correct(vector)
        row[2 * COUNT + 4] = edge & 255
        if len(row) > PLAIN:  # of prose there is nothing to set
            row[PLAIN:] = 0 if facts is None else facts
        counts, (first_side, second_side) = self._counts, vector.counts
        counts[0] += first_side[0]
        counts[1] += first_side[1]
        counts[2] += first_side[2]
        counts[3] += second_side[0]
        counts[4] += second_side[1]
        counts[5] += second_side[2]
        self.pairs += 1
        if not self.pairs % BLOCK:
            self._seal()

    def _codes(self, vector: PairVector) -> tuple[int, int, int]:
        code = self.labels.code
        first, second = code(vector.labels[0]), code(vector.labels[1])
        # references may be free text, different each time: they leave room for labels
        codes = (first, second, code(vector.reference, _MOST_REFERENCES))
        known = self._dropped.labels
        if len(known) < _MOST_LABEL_CELLS or codes in known:
            return codes
        first, second, wanted = (each if each == NO_LABEL else UNLISTED for each in codes)
        return first, second, wanted

    def _seal(self) -> None:
        """Compress a full block; join it with those before it where there are enough."""
        self._young.append(Block.sealed(self.pairs - BLOCK + 1, self._pending, self._counts, quick=True))
        self._counts = [0] * 6
        if len(self._young) * BLOCK == MERGED:
            self._keep(Block.merged(self._young))
            self._young = []

    def _keep(self, block: Block) -> None:
        """Keep a block; of the oldest, where there are too many, only the tally."""
        if self.alarm_at is None:
            self._blocks.append(block)
            held = sum(len(each.data) for each in self._blocks)
            if len(self._blocks) * MERGED > BEFORE_ALARM - MERGED or held > MOST_BYTES:
                gone = self._blocks.pop(0)
                self._dropped.add(gone.rows(), gone.counts)
        elif block.first <= self.alarm_at + ONSET_AFTER_ALARM:
            self._blocks.append(block)
        else:
            self._tail.append(block)
            if len(self._tail) * MERGED > TAIL:
                gone = self._tail.pop(0)
                self._passed = self._passed or Tally()
                self._passed.add(gone.rows(), gone.counts)

    def _open(self) -> Block:
        """Return the block that is being filled, as it is."""
        held = self.pairs % BLOCK
        return Block.plain(self.pairs - held + 1, self._pending[:held], self._counts)

    def _last(self) -> list[Block]:
        """Return the blocks that are not merged yet."""
        return [*self._young, self._open()]

    @property
    def all(self) -> Tally:
        """The tally of all pairs, counted anew: costs about a millisecond."""
        tally = self._dropped.joined(self._passed) if self._passed else self._dropped.copy()
        for block in (*self._blocks, *self._tail, *self._last()):
            tally.add(block.rows(), block.counts)
        return tally

    def window(self) -> Rows:
        """Return the rows around the alarm, or the last ones: where the onset is looked for."""
        blocks = self._unbroken(self._blocks if self._tail else [*self._blocks, *self._last()])
        rows = Rows.joined(block.rows() for block in blocks)
        return rows if self.alarm_at is None else rows.until(self.alarm_at + ONSET_AFTER_ALARM)

    def rows_since(self, number: int) -> Rows:
        """Return every remembered row whose pair number is at least `number`; some between may be forgotten."""
        blocks = [*self._blocks, *self._tail, *self._last()]
        return Rows.joined(block.rows() for block in blocks).since(number)

    def rows_from(self, number: int) -> Rows:
        """Return the most recent unbroken run of rows whose pair numbers are at least `number`."""
        blocks = self._unbroken([*self._blocks, *self._tail, *self._last()])
        return Rows.joined(block.rows() for block in blocks).since(number)

    @staticmethod
    def _unbroken(blocks: list[Block]) -> list[Block]:
        start = len(blocks) - 1
        while start and blocks[start - 1].first + blocks[start - 1].size == blocks[start].first:
            start -= 1
        return blocks[start:]

    def split(self, onset: int) -> tuple[Tally, Tally]:
        """Return the tallies of the pairs before `onset` and from it on.

        Counts of characters, lines and words of a block that `onset` divides are shared out by its features.
        """
        before = self._dropped.copy()
        for block in self._blocks if self._tail else [*self._blocks, *self._last()]:
            if block.first >= onset:
                break
            rows = block.rows()
            early = rows.until(onset - 1)
            before.add(early, rows.shared_out(block.counts, early))
        return before, self.all.without(before)

    def state_dict(self) -> dict[str, object]:
        """Return the past as arrays, numbers and lists."""
        last = self._open()
        return {
            "pairs": self.pairs,
            "dropped": self._dropped.state_dict(),
            "passed": None if self._passed is None else self._passed.state_dict(),
            "blocks": [block.state() for block in self._blocks],
            "tail": [block.state() for block in self._tail],
            "young": [block.state() for block in self._young],
            "open": Block.sealed(last.first, self._pending[: last.size], last.counts).state(),
            "labels": list(self.labels.names),
            "alarm_at": self.alarm_at,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> History:
        """Rebuild a past. ValueError for rows of the wrong size."""
        past = cls()
        past.pairs, past.alarm_at = state["pairs"], state["alarm_at"]
        past._dropped = Tally.from_state(state["dropped"])
        past._passed = None if state["passed"] is None else Tally.from_state(state["passed"])
        past._blocks = _blocks(state["blocks"], MERGED)
        past._tail = _blocks(state["tail"], MERGED)
        past._young = _blocks(state["young"], BLOCK)
        last = Block.from_state(state["open"])
        if last.size != past.pairs % BLOCK:
            raise ValueError("state holds rows of the wrong size")
        rows = last.rows().raw
        if rows[:, PLAIN:].any():
            past._pending = widened(past._pending)
        past._pending[: last.size] = rows[:, : past._pending.shape[1]]
        past._counts = list(last.counts)
        past.labels = Labels(state["labels"])
        return past


def _blocks(states: list[Any], size: int) -> list[Block]:
    found = [Block.from_state(state) for state in states]
    if any(block.size != size for block in found):
        raise ValueError("state holds rows of the wrong size")
    return found


def roots_of(vector: PairVector) -> NDArray[np.uint8]:
    """Return the features of both sides as they are remembered, shape (2 * COUNT,)."""
    return _ROOTS.take(np.concatenate((vector.control, vector.candidate)))


def _named(vector: PairVector) -> bool:
    return vector.labels != (None, None) or vector.reference is not None


def _correct(vector: PairVector) -> int:
    """Return bits: 1 there is a reference, 2 the control equals it, 4 the candidate does."""
    if vector.reference is None:
        return 0
    right = correctness_of(vector.facts)
    if right is not None:
        return 1 + 2 * right[0] + 4 * right[1]
    wanted = vector.reference.casefold()
    first, second = (name is not None and name.casefold() == wanted for name in vector.labels)
    return 1 + 2 * first + 4 * second
