"""Pairs as the detector makes them: several groups, streams and epochs; two groups change, some pairs are lost."""

from __future__ import annotations

import contextlib
import json
import random
from functools import cache

from sqlalchemy import select

from promptguard.background.engine import Background
from promptguard.core.options import Drift
from promptguard.drift import Answer, vectorise
from promptguard.ledger import schema
from promptguard.ledger.reading import reading

GROUPS = [f"group {number}@1" for number in range(4)]
TEXTS = [
    "Yes.",
    "No, never.",
    '{"a": 1}',
    "I am sorry, I cannot help.",
    "A longer answer. " * 12,
    "1. one\n2. two",
]
DRIFT = Drift(alpha=0.01)


@cache
def vector(one, other):
    return vectorise(Answer(one), Answer(other), seed=b"s" * 16).to_bytes()


def pair(number, **more):
    """Return one compared pair."""
    return {
        "stream": "candidate", "epoch": 1, "group": "triage@1", "at": 1e9 + number, "call": number, "outcome": "compared",
        "reason": "", "asked": "m", "control_model": "m", "candidate_model": "n", "vector": vector(TEXTS[0], TEXTS[0]),
        "usd": 0.25, "input_tokens": 3, "output_tokens": 4, "latency": 0.5, **more,
    }  # fmt: skip


def story(count, seed=5):
    """Return pairs in which two of four groups change after a third."""
    rng, rows = random.Random(seed), []
    for number in range(count):
        group = rng.choice(GROUPS)
        text = rng.choice(TEXTS[:4])
        changed = group in GROUPS[:2] and number > count // 3
        other = rng.choice(TEXTS[3:]) if changed else text if rng.random() < 0.9 else rng.choice(TEXTS)
        lost = rng.random() > 0.97
        more = {"vector": vector(text, other)}
        if lost:
            more = {"outcome": "candidate_error", "reason": "429", "vector": None}
        stream = rng.choice(["candidate", "candidate", "replay", "repeat"])
        asked = json.dumps([{"role": "user", "content": f"question {number}"}])
        texts = {"question": asked.encode(), "control": text.encode(), "candidate": other.encode()}
        if number % 3 == 0 and not lost:
            more["content"] = texts
        rows.append(pair(number, group=group, stream=stream, **more))
    return rows


def judged(ledger, drift=DRIFT, *, seconds=60):
    """Judge a ledger within `seconds`; returns what readers are told: (stream, epoch, group) → the document's bytes."""
    with contextlib.closing(background(ledger, drift)) as found:
        assert found.evaluator.flush(seconds)
    return told(ledger)


def background(ledger, drift=DRIFT):
    from promptguard.directories import ledger_place

    return Background(
        ledger_place(ledger), drift, (), record_content=None, queue=1, threads=1, wall=lambda: 1e9 + 1e3
    )


def told(ledger):
    with reading(ledger) as connection:
        whole = connection.execute(select(schema.verdict)).all()
        groups = connection.execute(select(schema.verdict_group)).all()
    return {
        **{(row.stream, row.epoch, ""): bytes(row.document) for row in whole},
        **{(row.stream, row.epoch, row.group): bytes(row.document) for row in groups},
    }
