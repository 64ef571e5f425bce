"""What "a change of under x % could hide" is worth: on changes of listed features, and on one that no feature lists.

    python -m benchmarks.detector_hidden [STREAMS]

In every stream a share of the candidate's answers is edited from the first pair on. After so many pairs without an alarm
the verdict says how large a change could hide; where the edited share is larger, it has said too little. `wording`
exchanges vowels in long words: as long, as many words, nothing that has a name.
"""

from __future__ import annotations

import random
import sys
from collections import Counter

from benchmarks.detector_causes import EDITS, draws, pair, recorded

from promptguard.drift import PairMonitor

LISTED = ("fence", "refusal", "label", "bold", "length")
UNLISTED = ("wording",)
SHARES, READ_AT, ALPHA = (0.1, 0.2, 0.3, 0.5), (60, 120, 240), 0.01


def run(edit: str, share: float, noisy: bool, seed: int, told: Counter[tuple[str, int, str]]) -> None:
    """Play one stream, and count at each reading: alarmed, said enough, said too little."""
    dice = random.Random(f"{edit} {share} {noisy} {seed}")
    places = dice.sample(range(len(draws() if noisy else recorded())), READ_AT[-1])
    monitor = PairMonitor(ALPHA)
    for number, place in enumerate(places, 1):
        monitor.fold(pair(edit, noisy, place, dice.random() < share)[0])
        if number in READ_AT:
            verdict = monitor.explain()
            hidden = verdict.largest_hidden_drift
            kind = "alarm" if hidden is None else "enough" if hidden >= share else "too little"
            told[edit, number, kind] += 1


def main() -> None:
    streams = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    told: Counter[tuple[str, int, str]] = Counter()
    for edit in (*LISTED, *UNLISTED):
        for share in SHARES:
            for noisy in (False, True):
                for seed in range(streams):
                    run(edit, share, noisy, seed, told)
    assert set(EDITS) >= {*LISTED, *UNLISTED}
    print(f"{'edit':10s} pairs  alarmed  could hide it, as said  larger than what was said to hide")
    for edit in (*LISTED, *UNLISTED):
        for number in READ_AT:
            counts = [told[edit, number, kind] for kind in ("alarm", "enough", "too little")]
            shares = [count / sum(counts) for count in counts]
            print(f"{edit:10s} {number:5d}  {shares[0]:7.2f}  {shares[1]:22.2f}  {shares[2]:33.2f}")


if __name__ == "__main__":
    main()
