"""Stored answers asked again, on a simulated clock: how long after a change it is found, beside what `plan` says.

`python -m benchmarks.replay_window [runs] [calls a day] [share]`

Answers are draws of one unchanged model at temperature 0.7 (benchmarks/data); from the change on, every answer, or one in
two or five, is a refusal. The bank is the ledger's own, on disk; pairs go through the detector with the default settings.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from tests.drift.recorded import same_model_answers

from promptguard.core.ladder import DAY, HOUR, draw, flows, ladder
from promptguard.core.options import Drift, Replay
from promptguard.drift import Answer, PairMonitor, days_needed, vectorise
from promptguard.ledger.rows import BankedRow, PairRow
from promptguard.ledger.store import Ledger

AFTER, STEADY, WATCHED = 6 * HOUR, 16.0, 15.0
"""seconds; days before the change, and after it"""
REFUSAL = "I am sorry, but I cannot help with that."
NOISE = 0.02


class Days:
    """One run: an application that stores answers at a steady pace, and a bank that is asked when they are due."""

    def __init__(self, place: Path, seed: int, per_day: float, changed: float) -> None:
        self.random = np.random.default_rng(seed)
        self.ledger = Ledger(place)
        self.texts = list(same_model_answers().values())
        self.per_day, self.changed = per_day, changed
        drift = Drift()
        self.monitor = PairMonitor(
            drift.alpha_of("replay"), "monitor", horizon=drift.horizon, stream="replay"
        )
        self.pairs = 0

    def answer(self, prompt: int, now: float) -> str:
        """Return what the model answers at a moment, in seconds since the change."""
        if now >= 0.0 and self.random.random() < self.changed:
            return REFUSAL
        draws = self.texts[prompt]
        return draws[int(self.random.integers(len(draws)))]

    def found(self) -> float | None:
        """Return the days from the change to the alarm; None for none within WATCHED days. A false alarm is reset."""
        rungs, reservoir = ladder(AFTER, Replay().reservoir), Replay().reservoir
        step = DAY / self.per_day
        for call in range(int((STEADY + WATCHED) * self.per_day)):
            now = call * step - STEADY * DAY
            prompt = int(self.random.integers(len(self.texts)))
            self.ledger.bank(
                stored(call, now, prompt, self.answer(prompt, now)), rungs, draw(call), reservoir, -1e12
            )
            if self._ask(now) and now >= 0.0:
                return now / DAY
        return None

    def _ask(self, now: float) -> bool:
        rows = self.ledger.due(now, ["s"], 32)
        for row in rows:
            prompt = int(row.question)
            pair = vectorise(Answer(row.answer.decode()), Answer(self.answer(prompt, now)))
            self.pairs += now >= 0.0
            if self.monitor.fold(pair, day=int(now // DAY)) and now < 0.0:
                self.monitor.acknowledge()
        if rows:
            self.ledger.write_pairs([made(now) for _ in rows])
        return self.monitor.brief().alarm_at is not None


def stored(call: int, now: float, prompt: int, answer: str) -> BankedRow:
    """Return a row of the bank."""
    return {
        "stream": "replay", "model": "m", "group": "g", "clusters": "", "at": now, "due": now, "call": call, "source": "s",
        "question": str(prompt).encode(), "answer": answer.encode(),
    }  # fmt: skip


def made(now: float) -> PairRow:
    """Return a row of a pair, which the bank counts."""
    return {
        "stream": "replay", "epoch": 1, "group": "g", "at": now, "call": 0, "outcome": "compared", "reason": "",
        "asked": "m", "control_model": "m", "candidate_model": "m",
    }  # fmt: skip


def main() -> None:
    """Print days to the alarm for each change."""
    runs, calls, share = (
        float(given) for given in (*sys.argv[1:], *("20", "1000", "0.05")[len(sys.argv) - 1 :])
    )
    per_day = calls * share
    drift = Drift()
    bar = float(np.log(drift.horizon / drift.alpha_of("replay")))
    ages = [(flow.age / DAY, flow.per_day) for flow in flows(ladder(AFTER, Replay().reservoir), per_day)]
    print(f"{calls:g} calls a day, share {share:g}: {per_day:g} replays a day are the budget; after 6 h")
    for changed in (1.0, 0.5, 0.2):
        days = []
        for seed in range(int(runs)):
            with tempfile.TemporaryDirectory() as place:
                days.append(Days(Path(place), seed, per_day, changed).found() or float("inf"))
        planned = days_needed(changed, NOISE, bar, ages)
        said = "never" if planned is None else f"{planned[0]:.2f} days"
        late = sorted(days)[int(0.9 * (len(days) - 1))]
        missed = sum(day == float("inf") for day in days)
        print(
            f"{changed:4.0%} of the answers: found after {statistics.median(days):.2f} days (median of {len(days)}; 90 % "
            f"within {late:.2f}, missed {missed}); plan says {said}"
        )


if __name__ == "__main__":
    main()
