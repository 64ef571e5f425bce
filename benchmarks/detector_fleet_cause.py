"""One of 200 prompts changes: is it named, and what changed in it, in the sentence of the whole?

    python -m benchmarks.detector_fleet_cause [RUNS]

The changes are recorded ones; all other prompts get two answers of one unchanged model, sides
by a fair coin. The verdict is read ten rounds after the alarm. The cause is right where it is among the first three of what
the changed pairs say when all of them are read together.
"""

from __future__ import annotations

import sys

import numpy as np
from benchmarks.detector.corpora import CHANGES, RECORDED, pairs_of, same_model_vectors

from promptguard.drift import PairMonitor, PairVector
from promptguard.drift.betting.partitions import paired

GROUPS, MOST_ROUNDS, READ_AFTER, ALPHA = 200, 120, 10, 0.01
CORPORA: tuple[tuple[str, ...], ...] = (*RECORDED, *((version,) for version in CHANGES[:2]))


def truth(corpus: tuple[str, ...]) -> set[str]:
    """Return what all pairs of a change say first, by-products of each included."""
    monitor = PairMonitor(ALPHA)
    for pair in pairs_of(corpus):
        monitor.fold(paired(*pair))
    return {name for change in monitor.explain().changes[:3] for name in (change.feature, *change.related)}


def run(corpus: tuple[str, ...], seed: int) -> tuple[bool, bool, str]:
    """Return whether the group was right, whether the cause was, and the sentence."""
    dice = np.random.default_rng(seed)
    still = [vector for _, vector in same_model_vectors(dice)]
    changed = f"prompt-{dice.integers(GROUPS)}"
    pool = pairs_of(corpus)
    monitor, rang = PairMonitor(ALPHA, "monitor", horizon=GROUPS * 1000), None
    for turn in range(MOST_ROUNDS):
        for number in dice.permutation(GROUPS):
            name = f"prompt-{number}"
            vector: PairVector = still[dice.integers(len(still))]
            if name == changed:
                vector = paired(*pool[dice.integers(len(pool))])
            elif dice.integers(2):
                vector = vector.swapped()
            if monitor.fold(vector, name) and rang is None:
                rang = turn
        if rang is not None and turn >= rang + READ_AFTER:
            break
    verdict = monitor.explain()
    told = verdict.changes[0].feature if verdict.changes else ""
    return verdict.speaks_of == changed, told in truth(corpus), verdict.sentence()


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    groups = causes = 0
    for number in range(runs):
        corpus = CORPORA[number % len(CORPORA)]
        group, cause, sentence = run(corpus, number)
        groups, causes = groups + group, causes + cause
        words = ["right" if each else "WRONG" for each in (group, cause)]
        print(f"{'/'.join(corpus):18s} group {words[0]}, cause {words[1]}: {sentence}")
    print(
        f"one of {GROUPS} prompts changed: right group in {groups} of {runs}, right cause in {causes} of {runs}"
    )


if __name__ == "__main__":
    main()
