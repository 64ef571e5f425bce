"""Rollouts on recorded answers and on simulated traffic: `python -m benchmarks.rollout [rollouts]`.

1. Recorded: gpt-4-0314 is followed by gpt-4-0613 behind a label, on the questions about primes, whose answers became one
word.
   Rolled back within the oracle's pairs + 4? The oracle is the paired permutation test of the detector's benchmark that
   knows the number of pairs beforehand and looks once (docs/reference/detector-figures.md: 95 % power at 11 pairs). And
   completed where 0314 is followed by itself?
2. Simulated: rollouts that worsen nothing. How many are rolled back, over all looks, steps and guards? The bound is alpha.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

from promptguard.core.rollouts import GUARDS, Guard, Rollout, placed
from promptguard.demo.recordings import Recordings
from promptguard.drift import Answer, vectorise
from promptguard.drift.betting.arms import NOTHING
from promptguard.rollout.evidence import Evidence
from promptguard.rollout.judging import Decision, decide
from promptguard.rollout.outcome import Outcome
from promptguard.rollout.starting import LEAST_PAIRS, MOST, PATIENCE, TOLERANCE

SEEDS = 20
ORACLE = 11
"""Pairs at which the fixed test has 95 % power on this change (the best kernel; all three need 11)"""
ALPHA = 0.05
MOST_CALLS = 200_000


@dataclass(frozen=True)
class Ended:
    """How a rollout ended: `pairs` of the new version and the old one, `calls` of the application."""

    kind: str
    why: str
    pairs: int
    calls: int
    share: float


def rollout(seed: int, guards: tuple[Guard, ...], alpha: float = ALPHA) -> Rollout:
    return Rollout(
        1, "prime", "1", "2", "production", "prompts", (1.0, 5.0, 25.0, 100.0), guards, alpha, TOLERANCE, MOST, LEAST_PAIRS,
        PATIENCE, random.Random(seed).randbytes(16), 0.0,
    )  # fmt: skip


def run(begun: Rollout, traffic: Iterator[tuple[Outcome, Outcome]]) -> Ended:
    """Roll out until something ends it; `traffic` yields what either version would bring, a unit a time."""
    evidence, now = Evidence(begun), begun
    for calls, both in enumerate(traffic, 1):
        is_treated, unit = placed(now, f"unit {calls}")
        if unit is not None and evidence.take(
            replace(both[is_treated], is_treated=is_treated, step=now.step)
        ):
            found = decide(now, evidence)
            if found is not None and found.kind in ("rollback", "complete"):
                return Ended(found.kind, found.why, evidence.pairs, calls, now.share)
            now = _after(now, found)
        if calls >= MOST_CALLS:
            break
    return Ended(now.state, now.why, evidence.pairs, calls, now.share)


def _after(now: Rollout, found: Decision | None) -> Rollout:
    if found is None:
        return now
    if found.kind == "hold":
        return replace(now, state="held", why=found.why)
    return replace(now, state="running", step=found.step)


def recorded(seed: int, before: str, after: str) -> Iterator[tuple[Outcome, Outcome]]:
    """Yield the recorded answers of either model to questions drawn at random."""
    known, chance = _prime(), random.Random(seed)
    while True:
        question = chance.choice(known.questions)
        yield _outcome(known, question, before, chance), _outcome(known, question, after, chance)


_recordings: list[Recordings] = []
_vectors: dict[tuple[str, str], bytes] = {}


def _prime() -> Recordings:
    if not _recordings:
        _recordings.append(Recordings("prime"))
    return _recordings[0]


def _outcome(known: Recordings, question: str, model: str, chance: random.Random) -> Outcome:
    answer = known.answer(question, model)
    key = (question, model)
    if key not in _vectors:
        _vectors[key] = vectorise(NOTHING, Answer(answer.text)).to_bytes()
    # Recordings have no clock: so many tokens a second, and noise.
    latency = (0.4 + answer.tokens / 50.0) * chance.lognormvariate(0.0, 0.3)
    usd = 30e-6 * 40 + 60e-6 * answer.tokens
    return Outcome(
        1, 0, False, b"", 0.0, known.usable(question, answer.text), False, usd, latency, _vectors[key]
    )


def simulated(seed: int) -> Iterator[tuple[Outcome, Outcome]]:
    """Yield outcomes of two versions that do not differ, on traffic of one of several kinds."""
    chance = random.Random(seed)
    bad, refused = chance.choice((0.0, 0.01, 0.1, 0.5)), chance.choice((0.0, 0.02, 0.3))
    spread = chance.choice((0.05, 0.5, 1.5))

    def one() -> Outcome:
        return Outcome(
            1, 0, False, b"", 0.0, chance.random() >= bad, chance.random() < refused,
            1e-3 * chance.lognormvariate(0.0, spread), chance.lognormvariate(0.0, spread),
        )  # fmt: skip

    while True:
        yield one(), one()


def false_rollbacks(count: int, tolerance: float | None = None) -> tuple[int, dict[str, int]]:
    """Return how many of `count` rollouts that worsen nothing are rolled back, and how all end."""
    ends: dict[str, int] = {}
    for seed in range(count):
        begun = rollout(seed, ("usable", "refusal", "cost", "latency"))
        # Without tolerance there is no room between the null and its bound: the hardest case.
        begun = begun if tolerance is None else replace(begun, tolerance=dict.fromkeys(GUARDS, tolerance))
        ended = run(replace(begun, patience=300), _until_held(simulated(seed)))
        ends[ended.kind] = ends.get(ended.kind, 0) + 1
    return ends.get("rollback", 0), ends


def _until_held(
    traffic: Iterator[tuple[Outcome, Outcome]], most: int = 20_000
) -> Iterator[tuple[Outcome, Outcome]]:
    for _, each in zip(range(most), traffic, strict=False):
        yield each


def changed(guards: tuple[Guard, ...]) -> bool:
    """Roll the changed model out, and print how it ends; returns whether all went as it should."""
    told = [run(rollout(seed, guards), recorded(seed, "gpt-4-0314", "gpt-4-0613")) for seed in range(SEEDS)]
    back = [each.pairs for each in told if each.kind == "rollback"]
    within = sum(pairs <= ORACLE + 4 for pairs in back)
    print(
        f"gpt-4-0314 -> 0613, {','.join(guards)}: rolled back {len(back)} of {SEEDS}, pairs median "
        f"{statistics.median(back):g}, most {max(back)}; within the oracle's {ORACLE} + 4: {within} of {SEEDS}; at most "
        f"{100 * max(each.share for each in told):g} % of units had it. First: {told[0].why}"
    )
    return len(back) == SEEDS and (within == SEEDS or "behaviour" not in guards)


def unchanged(guards: tuple[Guard, ...]) -> bool:
    """Roll the same model out, and print how it ends; returns whether all went as it should."""
    told = [run(rollout(seed, guards), recorded(seed, "gpt-4-0314", "gpt-4-0314")) for seed in range(SEEDS)]
    done = sum(each.kind == "complete" for each in told)
    pairs, calls = (statistics.median(getattr(each, name) for each in told) for name in ("pairs", "calls"))
    print(
        f"gpt-4-0314 -> itself, {','.join(guards)}: completed {done} of {SEEDS}, pairs median {pairs:g}, calls {calls:g}"
    )
    return done == SEEDS


def main(count: int = 2_000) -> int:
    """Print all figures; returns 1 where one misses its target."""
    all_well = True
    for guards in (GUARDS, GUARDS[:4]):
        all_well = changed(guards) and unchanged(guards) and all_well
    for tolerance in (None, 0.0):
        false, ends = false_rollbacks(count, tolerance)
        said = "as by default" if tolerance is None else "none"
        print(
            f"nothing worse, tolerance {said}: {false} of {count} rolled back ({false / count:.4f}; alpha {ALPHA}); {ends}"
        )
        expected = ALPHA * count
        all_well = all_well and false <= expected + 2 * math.sqrt(expected * (1 - ALPHA))
    return 0 if all_well else 1


if __name__ == "__main__":
    sys.exit(main(*(int(each) for each in sys.argv[1:])))
