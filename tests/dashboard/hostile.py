"""A ledger in which every stored text is hostile: names, models, reasons, labels, notices, questions, answers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from promptguard.drift import Answer, PairMonitor, vectorise
from promptguard.ledger import schema
from promptguard.ledger.store import Ledger, put_group_verdict, put_whole_verdict
from tests.dashboard.payloads import PAYLOADS

NOW = 1_790_000_000.0


def hostile_ledger(directory: Path) -> Path:
    """Write it, a prompt a payload, as the library's own tables are written."""
    ledger = Ledger(directory)
    document = _drifted()
    rows = []
    for number, payload in enumerate(PAYLOADS):
        vector = vectorise(Answer("yes", label=payload[:60]), Answer(payload), seed=ledger.seed).to_bytes()
        rows.append(
            {
                "stream": "candidate", "epoch": 1, "group": payload, "at": NOW + number, "call": number,
                "outcome": "compared", "reason": "", "asked": payload, "control_model": payload, "candidate_model": payload,
                "control_served": payload, "candidate_served": payload + "x", "vector": vector,
                "content": {
                    "question": json.dumps([{"role": payload, "content": payload}]).encode(),
                    "control": json.dumps({payload: payload, "list": [payload]}).encode(),
                    "candidate": json.dumps({payload: payload + " and more", "else": payload}).encode(),
                },
            }
        )  # fmt: skip
        rows.append({**rows[-1], "outcome": payload[:30], "reason": payload, "vector": None, "content": None})
    ledger.write_pairs(rows)
    ledger.count({("not paired", payload): 1.0 for payload in PAYLOADS})
    ledger.count({("cache", f"bypass: {payload}"): 1.0 for payload in PAYLOADS})
    ledger.count({("cache saved tokens", f"{payload}: input"): 1.0 for payload in PAYLOADS})
    ledger.count({("faults", payload): 1.0 for payload in PAYLOADS})
    ledger.note_sightings({(payload,) * 7: (NOW, NOW + 60.0, 3) for payload in PAYLOADS})
    with ledger.transaction() as connection:
        whole = _with(document, PAYLOADS[0])
        put_whole_verdict(
            connection, "candidate", 1, NOW, 1, {**whole, "group": None, "example_pairs": [], "groups": []}
        )
        for number, payload in enumerate(PAYLOADS):
            put_group_verdict(connection, "candidate", 1, payload, NOW, _with(document, payload))
            told = {"text": payload, "at": NOW + number}
            connection.execute(
                insert(schema.meta).values(name=f"{schema.NOTICE}{number}", value=json.dumps(told).encode())
            )
    for payload in PAYLOADS:
        detail = {
            "asked": payload,
            "to": payload,
            "message": payload,
            "by": payload,
            "pairs": 3,
            "log10_evidence": 9.0,
        }
        for kind in ("alarm", "route", "raise", payload[:40]):
            ledger.note(
                at=NOW, call=1, kind=kind, stream="candidate", group=payload, detail={**detail, "epoch": 1}
            )
    ledger.close()
    return directory


def _drifted() -> dict[str, Any]:
    """Return a real verdict of a change, with labels and references."""
    monitor, rng = PairMonitor(alpha=0.01, mode="gate"), random.Random(1)
    for _ in range(80):
        answer = rng.choice(["yes", "no"])
        monitor.update(
            control=Answer(f"The answer is {answer}.", label=answer),
            candidate=Answer("no", label="no"),
            group="g",
            reference=answer,
        )
    return monitor.verdict().to_dict()


def _with(document: dict[str, Any], payload: str) -> dict[str, Any]:
    told = json.loads(json.dumps(document))
    moment = {"pair": 3, "call": 3, "at": NOW, "banked_call": 2}
    told.update(
        group=payload, sentence=payload, control_model=payload, candidate_model=payload, groups=[], epoch=1,
        stream="candidate", status="drift", curve=[[1, 1, 0.1, NOW], [2, 2, 4.0, NOW + 30], [3, 3, 9.0, NOW + 60]],
        moments=dict.fromkeys(("first", "last", "alarm", "onset", "onset_low", "onset_high"), moment),
    )  # fmt: skip
    for change in told["changes"]:
        change.update(phrase=payload, kind=payload, unit=payload if change["unit"] else None)
    if told["ability"]:
        told["ability"]["positive"] = payload
    return told
