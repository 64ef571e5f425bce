"""All pages of a ledger at once, for one file that is sent or kept: the same values as the pages show."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from promptguard._version import __version__
from promptguard.ledger import schema
from promptguard.report.actions import Event, read_actions
from promptguard.report.cost import Cost, read_cost
from promptguard.report.identities import Identities, read_identities
from promptguard.report.memory import Memory
from promptguard.report.overview import Overview, read_overview
from promptguard.report.prompt import Prompt, read_prompt
from promptguard.report.unmeasured import Unmeasured, read_unmeasured

MOST_PROMPTS = 20
"""Prompts that are shown in full: those that need somebody first. All others have their row."""


@dataclass(frozen=True, slots=True)
class Whole:
    """What a report holds. `application` is what the reader calls it, empty where nobody said."""

    made_at: float
    application: str
    version: str
    ledger_schema: int
    overview: Overview
    prompts: tuple[Prompt, ...]
    events: tuple[Event, ...]
    identities: Identities
    cost: Cost
    unmeasured: Unmeasured


def read_whole(ledger: str | Path, *, application: str = "", now: float | None = None) -> Whole:
    """Read a ledger for a report. Raises InputFileError when there is none, or it cannot be read.

    Parameters: `application` is shown as it is; `now` in Unix seconds, for tests.
    """
    at = time.time() if now is None else now
    memory = Memory()
    overview = read_overview(ledger, memory=memory, now=at)
    names = list(dict.fromkeys(row.group for row in overview.rows))[:MOST_PROMPTS]
    prompts = [read_prompt(ledger, name, memory=memory, now=at) for name in names]
    return Whole(
        made_at=at,
        application=application,
        version=__version__,
        ledger_schema=schema.SCHEMA_VERSION,
        overview=overview,
        prompts=tuple(prompt for prompt in prompts if prompt is not None),
        events=read_actions(ledger).events,
        identities=read_identities(ledger, memory=memory, now=at),
        cost=read_cost(ledger, now=at),
        unmeasured=read_unmeasured(ledger),
    )
