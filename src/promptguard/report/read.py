"""Read-only views of a ledger, shared by every command and page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy import select

from promptguard.ledger import schema
from promptguard.ledger.store import reading


def read_verdicts(ledger: str | Path) -> list[dict[str, Any]]:
    """Return the newest verdict.json of every stream and epoch.

    Raises InputFileError when there is no ledger.
    """
    table = schema.verdict
    with reading(ledger) as connection:
        rows = connection.execute(select(table).order_by(table.c.stream, table.c.epoch)).all()
    return [json.loads(row.document) for row in rows]


def read_counters(ledger: str | Path) -> dict[str, dict[str, float]]:
    """Return the counters by name and label."""
    found: dict[str, dict[str, float]] = {}
    with reading(ledger) as connection:
        for row in connection.execute(select(schema.counter)):
            found.setdefault(row.name, {})[row.label] = row.value
    return found
