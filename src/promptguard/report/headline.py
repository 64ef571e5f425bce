"""The first sentence that anybody reads: what changed, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptguard.report.overview import Overview, Row

_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Headline:
    """A sentence, and when the earliest change in it began (Unix seconds, with its 90 % interval), None without one."""

    text: str
    since: float | None = None
    low: float | None = None
    high: float | None = None


def headline(overview: Overview) -> Headline:
    """Return the sentence for a ledger."""
    judging = [row for row in overview.alarms if row.judging]
    if judging:
        dated = [row for row in judging if row.since is not None]
        first = min(dated, key=lambda row: row.since or 0.0, default=None)
        times = (None, None, None) if first is None else (first.since, first.since_low, first.since_high)
        return Headline(_changed(judging), *times)
    if overview.alarms:
        return Headline("The self-test alarms, so nothing can be said of the model")
    if overview.status == "no_drift":
        return Headline("No change of the model was found")
    if overview.status == "drift" or any(row.acknowledged for row in overview.rows):
        return Headline("All that changed is acknowledged; too little is measured since")
    return Headline("Not enough was measured to say whether the model changed")


def _changed(rows: Sequence[Row]) -> str:
    models = sorted({changed_model(row) for row in rows} - {""})
    if not models:
        return "The answers changed"
    named = ", ".join(models[:_MOST_NAMED])
    more = f" and {len(models) - _MOST_NAMED} more" if len(models) > _MOST_NAMED else ""
    moved = [row for row in rows if row.stream != "candidate" or _control_moved(row)]
    if not moved:
        return f"{named}{more} answers differently from what you use now"
    return f"The model{'s' if len(models) > 1 else ''} behind {named}{more} changed"


def changed_model(row: Row) -> str:
    """Return the model that is not as it was."""
    return row.control if row.stream != "candidate" or _control_moved(row) else row.candidate


def _control_moved(row: Row) -> bool:
    return bool(row.told.get("control_moved"))
