"""Pairs of JSON answers as a model at a temperature gives them: the same ticket, read twice, with fresh ids."""

import json
import random
import uuid

from promptguard.drift import Answer

CATEGORIES, SHARES = ("billing", "refund", "technical", "shipping"), (0.35, 0.2, 0.25, 0.2)
TAGS = ("late", "broken", "urgent", "invoice", "login", "web")


def ticket(rng):
    return {
        "category": rng.choices(CATEGORIES, SHARES)[0],
        "priority": rng.randint(1, 5),
        "amount": round(rng.lognormvariate(4, 0.7), 2),
        "tags": rng.sample(TAGS, rng.randint(1, 4)),
        "customer": {"vip": rng.random() < 0.2},
    }


def read(truth, rng):
    """One reading of a ticket: mostly the truth, with an id of its own."""
    found = json.loads(json.dumps(truth))
    if rng.random() < 0.1:
        found["category"] = rng.choices(CATEGORIES, SHARES)[0]
    if rng.random() < 0.15:
        found["priority"] = min(5, max(1, found["priority"] + rng.choice((-1, 1))))
    found["id"] = str(uuid.UUID(int=rng.getrandbits(128)))
    return found


def as_json(found):
    return Answer(json.dumps(found), finish_reason="stop")


def as_tool(found, name=None):
    chosen = name or ("lookup" if found["priority"] < 3 else "open_ticket")
    arguments = {key: found[key] for key in ("category", "amount", "tags") if key in found}
    call = {"name": chosen, "arguments": json.dumps(arguments)}
    return Answer("", tool_calls=[call], finish_reason="tool_calls")


def pairs(seed, count, edit=None, form=as_json):
    """Yield pairs; `edit(found, rng)` changes the candidate's reading in place."""
    rng = random.Random(seed)
    for _ in range(count):
        truth = ticket(rng)
        first, second = read(truth, rng), read(truth, rng)
        if edit is not None:
            edit(second, rng)
        yield form(first), form(second)


def more_refunds(found, rng):
    if found["category"] != "refund" and rng.random() < 0.25:
        found["category"] = "refund"


def dearer(found, rng):
    found["amount"] = round(found["amount"] * 1.1, 2)


def without_priority(found, rng):
    if rng.random() < 0.3:
        del found["priority"]


def without_tags(found, rng):
    if rng.random() < 0.3:
        del found["tags"]


def as_text(found, rng):
    if rng.random() < 0.4:
        found["amount"] = str(found["amount"])


def null_amount(found, rng):
    if rng.random() < 0.3:
        found["amount"] = None


def more_vips(found, rng):
    if rng.random() < 0.3:
        found["customer"]["vip"] = True


def one_tag_more(found, rng):
    found["tags"] = [*found["tags"], "phone"]


def capitals(found, rng):
    found["category"] = found["category"].upper()


def renamed(found, rng):
    found["category"] = {"technical": "tech"}.get(found["category"], found["category"])


def other_order(found, rng):
    kept = dict(sorted(found.items()))
    found.clear()
    found.update(kept)
