"""Small memories of one client, bounded: which variant comes next, and which models answered last."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from promptguard.core.identity import LONGEST_NAME

KEPT = 10_000
CONFIRMED = 10
"""Fresh answers in a row that name other models before a name counts as moved: gradual roll-outs go back and forth."""


class VariantSelector:
    """Which of a key's variants is served next: each after the other, or by draws from [0, 1)."""

    def __init__(self, draw: Callable[[], float] | None = None) -> None:
        self._draw = draw
        self._next: OrderedDict[str, int] = OrderedDict()

    def next(self, key: str, count: int) -> int:
        """Return a number below `count`. Two threads at a time may get the same one, which is a draw as good."""
        if self._draw is not None:
            return int(self._draw() * count) % count
        turn = self._next.get(key, 0)
        self._next[key] = (turn + 1) % count
        while len(self._next) > KEPT:
            try:
                self._next.popitem(last=False)
            except KeyError:
                break  # another thread was first
        return turn % count


class RecentModels:
    """The models that answered last, by what they were asked as."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], deque[str]] = {}

    def saw(self, origin: str, asked: str, served: str) -> None:
        """Note the model named by a fresh answer."""
        if len(self._last) > KEPT:
            self._last = {}
        self._last.setdefault((origin, asked), deque(maxlen=CONFIRMED)).append(served[:LONGEST_NAME])

    def moved(self, origin: str, asked: str, served: str) -> bool:
        """Whether the last CONFIRMED fresh answers all came from other models than `served`."""
        last = self._last.get((origin, asked))
        return last is not None and len(last) == CONFIRMED and served[:LONGEST_NAME] not in tuple(last)
