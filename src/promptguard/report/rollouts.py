"""Rollouts as people read them: where each stands and on what evidence, folded from the ledger's rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from promptguard.core.rollouts import Rollout, folded
from promptguard.ledger.reading import reading
from promptguard.ledger.rollouts import LIMIT, outcomes, steps
from promptguard.rollout.evidence import Evidence
from promptguard.rollout.labels import label_elsewhere
from promptguard.rollout.starting import chosen, summary
from promptguard.rollout.told import outcome_of, told_evidence


def read_rollouts(
    ledger: str | Path, which: int | str | None = None, *, most: int | None = None
) -> list[dict[str, Any]]:
    """Return every rollout with its evidence, newest first, the `most` newest, or one by number or name (`chosen`).

    Of one that has ended the evidence is what its last step was taken on. `label_moved_to` is where somebody has put its
    label meanwhile: whoever asks by the label has that version. Raises InputFileError when there is no ledger,
    ConfigurationError for one that there is not.
    """
    with reading(ledger) as connection:
        rows = steps(connection)
    known = folded(rows, {})
    wanted = [*reversed(known.values())][:most] if which is None else [chosen(known, which)]
    last = {
        row["rollout"]: row["detail"] for row in rows if "guards" in row["detail"] and row["kind"] != "start"
    }
    with reading(ledger) as connection:
        return [
            {
                **summary(each),
                "live": each.is_live,
                "label_moved_to": label_elsewhere(each),
                "evidence": _evidence(connection, each) if each.is_live else last.get(each.number),
            }
            for each in wanted
        ]


def read_steps(ledger: str | Path, which: int | str | None = None) -> list[dict[str, Any]]:
    """Return the steps of one rollout (`chosen`), or of all, oldest first: when, what, who, why, and on what evidence."""
    with reading(ledger) as connection:
        rows = steps(connection)
    known = folded(rows, {})
    number = None if which is None else chosen(known, which).number
    return [
        {
            "rollout": row["rollout"], "subject": known[row["rollout"]].subject if row["rollout"] in known else None,
            "at": _moment(row["at"]), "kind": row["kind"], "by": row["by"], "why": row["why"],
            "detail": {name: value for name, value in row["detail"].items() if name != "salt"},
        }
        for row in rows
        if number in (None, row["rollout"])
    ]  # fmt: skip


def _moment(at: object) -> float:
    """Return seconds since the Unix epoch; 0 where a damaged row says something else."""
    return at if isinstance(at, float) and math.isfinite(at) else 0.0


def _evidence(connection: Connection, rollout: Rollout) -> dict[str, Any]:
    evidence, last = Evidence(rollout), 0
    while rows := outcomes(connection, rollout.number, last):
        for row in rows:
            evidence.take(outcome_of(row))
        last = rows[-1]["id"]
        if len(rows) < LIMIT:
            break
    return told_evidence(rollout, evidence)
