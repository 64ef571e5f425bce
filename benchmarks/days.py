"""A small recording of days: answers of one unchanged model, as an endpoint gives them whose days are not alike.

Made of the recorded answers of SmolLM2 at temperature 0.7 (benchmarks/data). A day has a random effect: a share of its
answers comes from another way of serving the same model (another top_p, a quantised copy, a slight fine-tune), which
stands for another temperature, another order of batches; and a mix of prompts of its own. The share is `usual` on average
(0.05: the mean total variation between days that was measured at a real endpoint is .03 to .08); on one day it is four
times that, and the next day as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from tests.drift.recorded import SAME_MODEL, lines, same_model_answers

WAYS = ("serv_top_p0.5", "quant_q8_0", "ft_style_8_s0.25")
USUAL, OUTLIER = 0.05, 4.0


@cache
def answers(way: str) -> dict[str, list[str]]:
    """Return the answers of one way of serving, by prompt."""
    found: dict[str, list[str]] = {}
    for line in lines(Path(SAME_MODEL) / f"{way}.jsonl.gz"):
        if line.get("temperature"):
            found.setdefault(line["prompt_id"], []).append(line["text"])
    return found


@dataclass(frozen=True)
class Day:
    """One day: the way in which a share of its answers is served, and its mix of prompts."""

    way: str
    share: float
    mix: np.ndarray


class Days:
    """An endpoint whose days differ. `changed` answers of every day from `change` on are those of another model."""

    def __init__(
        self,
        seed: int,
        *,
        usual: float = USUAL,
        outlier: int | None = None,
        change: int | None = None,
        changed: float = 1.0,
        by: str = "ft_style_20",
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.prompts = list(same_model_answers())
        self._usual, self._outlier, self._change, self._changed, self._by = (
            usual,
            outlier,
            change,
            changed,
            by,
        )
        self._days: dict[int, Day] = {}

    def day(self, number: int) -> Day:
        """Return a day; each is drawn once."""
        if number not in self._days:
            share = abs(self.random.normal(0.0, self._usual * 1.25))
            if number == self._outlier:
                share = OUTLIER * self._usual
            mix = self.random.dirichlet(np.full(len(self.prompts), 5.0))
            self._days[number] = Day(str(self.random.choice(WAYS)), min(1.0, share), mix)
        return self._days[number]

    def prompt(self, number: int) -> str:
        """Draw a prompt of a day."""
        return self.prompts[int(self.random.choice(len(self.prompts), p=self.day(number).mix))]

    def answer(self, prompt: str, number: int) -> str:
        """Draw an answer of a day."""
        day = self.day(number)
        if self._change is not None and number >= self._change and self.random.random() < self._changed:
            draws = answers(self._by)[prompt]
        elif self.random.random() < day.share:
            draws = answers(day.way)[prompt]
        else:
            draws = same_model_answers()[prompt]
        return draws[int(self.random.integers(len(draws)))]


def replayed(days: Days, per_day: int, length: int) -> Iterator[tuple[int, str, str, str]]:
    """Yield (day, prompt, stored answer, today's) of answers stored 1 to 14 days before, each used once."""
    ages = (1, 1, 3, 7, 7, 14, 14, 14)
    for number in range(length):
        for _ in range(per_day):
            stored = number - int(days.random.choice(ages))
            prompt = days.prompt(stored)
            yield number, prompt, days.answer(prompt, stored), days.answer(prompt, number)


class Borders:
    """One-word prompts, ten answers a day: for two prompts of five the first word stands on a border that moves daily.

    As at a real endpoint at temperature 0: the mean total variation of a day to another is about .05, on the outlier .2,
    and all of it lies in some prompts.
    """

    SPREAD = 0.15

    def __init__(
        self,
        seed: int,
        *,
        outlier: int | None = None,
        change: int | None = None,
        changed: float = 0.5,
        spread: float = SPREAD,
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.prompts = [f"word {number}" for number in range(26)]
        self._border = {
            p: float(self.random.uniform(0.05, 0.5)) for p in self.prompts if self.random.random() < 0.4
        }
        self._spread, self._outlier, self._change = spread, outlier, change
        self._moved = {p for p in self.prompts if self.random.random() < changed}
        self._shares: dict[tuple[str, int], float] = {}

    def share(self, prompt: str, number: int) -> float:
        """Return the share of a prompt's second word on a day."""
        if prompt not in self._border:
            return 0.0
        place = prompt, number
        if place not in self._shares:
            spread = self._spread * (OUTLIER if number == self._outlier else 1.0)
            share = self._border[prompt] + float(self.random.normal(0.0, spread))
            self._shares[place] = min(1.0, max(0.0, share))
        return self._shares[place]

    def answer(self, prompt: str, number: int) -> str:
        """Draw an answer of a day."""
        second = self.random.random() < self.share(prompt, number)
        if self._change is not None and number >= self._change and prompt in self._moved:
            return "Zurich" if second else "Geneva"
        return f"{prompt[5:]}th" if second else f"No {prompt[5:]}"
