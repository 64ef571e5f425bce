"""Structured answers as a model at a temperature gives them: one ticket, read twice, ids fresh each time."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable

from promptguard.drift import Answer

Found = dict[str, object]
CATEGORIES, SHARES = ("billing", "refund", "technical", "shipping"), (0.35, 0.2, 0.25, 0.2)
TAGS = ("late", "broken", "urgent", "invoice", "login", "web")


def ticket(rng: random.Random) -> Found:
    return {
        "category": rng.choices(CATEGORIES, SHARES)[0],
        "priority": rng.randint(1, 5),
        "amount": round(rng.lognormvariate(4, 0.7), 2),
        "tags": rng.sample(TAGS, rng.randint(1, 4)),
        "vip": rng.random() < 0.2,
    }


def read(truth: Found, rng: random.Random) -> Found:
    """One reading: mostly the truth."""
    found = json.loads(json.dumps(truth))
    if rng.random() < 0.1:
        found["category"] = rng.choices(CATEGORIES, SHARES)[0]
    if rng.random() < 0.15:
        found["priority"] = min(5, max(1, found["priority"] + rng.choice((-1, 1))))
    return {"id": str(uuid.UUID(int=rng.getrandbits(128))), **found}


def changed(found: Found, rng: random.Random) -> Found:
    """The same after a change of model: dearer, more refunds, now and then without a priority."""
    found["amount"] = round(float(str(found["amount"])) * 1.1, 2)
    if rng.random() < 0.25:
        found["category"] = "refund"
    if rng.random() < 0.1:
        del found["priority"]
    return found


def as_json(found: Found) -> Answer:
    return Answer(json.dumps(found), finish_reason="stop")


def as_tool(found: Found) -> Answer:
    name = "lookup" if found.get("priority", 3) in (1, 2) else "open_ticket"
    call = {
        "name": name,
        "arguments": json.dumps({key: found[key] for key in ("category", "amount", "tags")}),
    }
    return Answer("", tool_calls=[call], finish_reason="tool_calls")


def pair(rng: random.Random, form: Callable[[Found], Answer], *, drifted: bool) -> tuple[Answer, Answer]:
    truth = ticket(rng)
    first, second = read(truth, rng), read(truth, rng)
    return form(first), form(changed(second, rng) if drifted else second)


def exam(rng: random.Random, *, drifted: bool) -> tuple[Answer, Answer, str]:
    """A question with four choices, answered in a sentence; a third is wrong after the change, a tenth before."""
    truth = rng.choice("ABCD")
    said = [
        truth if rng.random() < right else rng.choice("ABCD") for right in (0.9, 0.67 if drifted else 0.9)
    ]
    first, second = (Answer(f"I have thought about it, and the right answer is {each}.") for each in said)
    return first, second, truth


def label(rng: random.Random, *, drifted: bool) -> tuple[Answer, Answer]:
    """One word of four, each turned into the next by the change."""
    truth = rng.choice(CATEGORIES)
    first = truth if rng.random() < 0.9 else rng.choice(CATEGORIES)
    second = CATEGORIES[(CATEGORIES.index(truth) + 1) % 4] if drifted else truth
    return Answer(first), Answer(second if rng.random() < 0.9 else rng.choice(CATEGORIES))


def certain(rng: random.Random, *, drifted: bool) -> tuple[Answer, Answer]:
    """The same words, held for a little less likely after the change."""
    words = " ".join(rng.choices(TAGS, k=14))
    sides = [[min(0.0, rng.gauss(-0.6 - shift, 0.3)) for _ in range(12)] for shift in (0.0, 0.1 * drifted)]
    return Answer(words, logprobs=sides[0]), Answer(words, logprobs=sides[1])
