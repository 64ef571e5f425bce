"""The demo's provider: serves recorded answers, and one day serves another model under the same name."""

from __future__ import annotations

import random
from collections.abc import Callable

from promptguard.demo.recordings import FAMILIES, Recordings
from promptguard.testing import FakeProvider, Question, Served


class SilentProvider(FakeProvider):
    """Serves a family's alias and both snapshots; the alias moves at `switch_at`, a time only the provider knows."""

    def __init__(
        self, recordings: Recordings, family: str, *, clock: Callable[[], float], switch_at: float | None
    ) -> None:
        alias, before, after = FAMILIES[family]
        super().__init__({})
        self.switch_at = switch_at

        def served(model: str) -> Callable[[Question], Served]:
            def answer(question: Question) -> Served:
                recorded = recordings.answer(question.text, model)
                return Served(recorded.text, output_tokens=recorded.tokens)

            return answer

        old, new = served(before), served(after)

        def moving(question: Question) -> Served:
            moved = self.switch_at is not None and clock() >= self.switch_at
            return new(question) if moved else old(question)

        self.models.update({alias: moving, before: old, after: new})


def draw_switch(seed: int, start: float, calls: int, seconds_a_call: float) -> float:
    """Return the moment of the silent change: somewhere from 35 % to 50 % of the way."""
    return start + random.Random(f"switch {seed}").uniform(0.35, 0.5) * calls * seconds_a_call
