"""Draw docs/explanation/evidence-curve.svg: a hundred quiet streams of real answers, and one in which the model changes.

Run: python benchmarks/picture.py docs/explanation/evidence-curve.svg
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

from promptguard.demo.recordings import Recordings
from promptguard.drift import Answer, PairMonitor

PAIRS, CHANGE, QUIET, ALPHA = 120, 60, 100, 0.01
BEFORE, AFTER = "gpt-4-0314", "gpt-4-0613"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 300, 56, 16, 22, 40
LOWEST, HIGHEST = -3.0, 8.0


def curve(
    questions: list[str], recordings: Recordings, rng: random.Random, change: int | None
) -> list[float]:
    """Return log10 evidence after each pair; without a change the sides are shuffled by a fair coin."""
    monitor = PairMonitor(ALPHA)
    levels = []
    for number, question in enumerate(questions, 1):
        old, new = (Answer(recordings.answer(question, model).text) for model in (BEFORE, AFTER))
        if change is None or number < change:
            old, new = (old, new) if rng.random() < 0.5 else (new, old)
        levels.append(monitor.update(old, new).log10_evidence)
    return levels


def path(levels: list[float], kind: str) -> str:
    """Return one curve; what leaves the picture is cut at its edge."""
    places = [f"{x(number):.1f} {y(min(level, HIGHEST)):.1f}" for number, level in enumerate(levels, 1)]
    end = next((n for n, level in enumerate(levels) if level > HIGHEST), len(places) - 1)
    return f'<path class="{kind}" d="M{"L".join(places[: end + 1])}"/>'


def x(pair: float) -> float:
    """Return the place of a pair number."""
    return LEFT + (pair - 1) / (PAIRS - 1) * (WIDTH - LEFT - RIGHT)


def y(level: float) -> float:
    """Return the height of a level of evidence."""
    return HEIGHT - BOTTOM - (max(level, LOWEST) - LOWEST) / (HIGHEST - LOWEST) * (HEIGHT - TOP - BOTTOM)


def drawn() -> str:
    """Return the picture; readable on light and dark ground."""
    recordings, rng = Recordings("prime"), random.Random(7)
    quiet = [curve(rng.sample(recordings.questions, PAIRS), recordings, rng, None) for _ in range(QUIET)]
    changed = curve(rng.sample(recordings.questions, PAIRS), recordings, rng, CHANGE)
    bar = math.log10(1 / ALPHA)
    alarm = next(number for number, level in enumerate(changed, 1) if level >= bar)
    rang = sum(max(levels) >= bar for levels in quiet)
    parts = [path(levels, "quiet") for levels in quiet] + [path(changed, "changed")]
    parts += [
        f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">10^{tick}</text>'
        for tick in range(int(LOWEST) + 1, int(HIGHEST) + 1, 2)
    ]
    parts += [
        f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick}</text>'
        for tick in (1, 20, 40, 60, 80, 100, 120)
    ]
    parts += [
        f'<text x="{LEFT}" y="14">evidence</text>',
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 4}" text-anchor="middle">pairs seen</text>',
        f'<path class="bar" d="M{LEFT} {y(bar):.1f}H{WIDTH - RIGHT}"/>',
        f'<text x="{LEFT + 4}" y="{y(bar) - 6:.1f}">alarm: 10^{bar:.0f} = 1/{ALPHA:g}</text>',
        f'<path class="bar" d="M{x(CHANGE):.1f} {TOP}V{HEIGHT - BOTTOM}"/>',
        f'<text x="{x(CHANGE) - 6:.1f}" y="{TOP + 10}" text-anchor="end">the model changes at pair {CHANGE}</text>',
        f'<text x="{LEFT + 4}" y="{HEIGHT - BOTTOM - 8}">{QUIET} quiet streams (grey): {rang} crossed</text>',
        f'<circle class="alarm" cx="{x(alarm):.1f}" cy="{y(changed[alarm - 1]):.1f}" r="5"/>',
        f'<text x="{x(alarm) + 10:.1f}" y="{y(bar) + 16:.1f}">alarm at pair {alarm}</text>',
    ]
    style = (
        "path{fill:none;stroke-width:1.2}text{font:13px system-ui,sans-serif;fill:#7a7a7a}"
        ".quiet{stroke:#8a8a8a;opacity:.4}.changed{stroke:#c2410c;stroke-width:2.4}"
        ".bar{stroke:#7a7a7a;stroke-dasharray:5 4}.alarm{fill:#c2410c}"
    )
    label = f"{rang} of {QUIET} quiet streams cross the alarm line; the changed one does at pair {alarm}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
    return f"{head}<style>{style}</style>{''.join(parts)}</svg>\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(drawn(), encoding="utf-8")
