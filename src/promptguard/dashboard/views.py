"""What each page shows, as values for its template. A view reads one read model and decides nothing about verdicts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from promptguard.dashboard.rendering import OpenCase, standing_case
from promptguard.dashboard.words import when
from promptguard.errors import PromptGuardError
from promptguard.report.actions import read_actions
from promptguard.report.cost import read_cost
from promptguard.report.headline import headline
from promptguard.report.identities import read_identities
from promptguard.report.memory import Memory
from promptguard.report.next_steps import cases_of
from promptguard.report.overview import Row, read_overview
from promptguard.report.pairs import SHOWS, Filter, Pairs, Show, read_pair, read_pairs
from promptguard.report.prompt import read_prompt
from promptguard.report.rollouts import read_rollouts, read_steps
from promptguard.report.unmeasured import read_unmeasured

Values = dict[str, Any]
"""of a template, by name"""
Query = Mapping[str, str]

TRACE_ID = "{trace_id}"
_TRACE = re.compile(r"[0-9a-f]{32}")

MOST_CARDS = 3
MOST_ROWS = 50
MOST_UNFOLDED = 8
"""Rows of a section up to which it is unfolded although something else needs somebody."""
MOST_QUERY = 200
MOST_ROLLOUTS, MOST_STEPS = 10, 200


class Views:
    """The pages of one ledger. `memory` is kept between requests, so that only what changed is read."""

    def __init__(self, ledger: str | Path, trace_url: str = "", prompts: str = "") -> None:
        self.ledger = ledger
        self._prompts = prompts
        self.memory = Memory()
        self._trace_url = trace_url

    def trace_link(self, trace: str) -> str:
        """Return where a trace is shown, "" where nobody said."""
        return self._trace_url.replace(TRACE_ID, trace) if _TRACE.fullmatch(trace) else ""

    def overview(self, query: Query) -> Values:
        """Return everything at a glance."""
        found = read_overview(self.ledger, memory=self.memory)
        searched = query.get("q", "").strip()[:MOST_QUERY]
        rows = [row for row in found.rows if searched.lower() in row.group.lower()]
        page = number(query.get("page"), 1)
        alarms = [row for row in rows if row.alarming]
        cards = [] if page > 1 else alarms[:MOST_CARDS]
        more = alarms[MOST_CARDS:]
        sections, last = _sections(rows, page, calm=not found.alarms, searched=bool(searched))
        return {
            "overview": found,
            "head": headline(found),
            "q": searched,
            "cards": [(case.row, OpenCase(case)) for case in cases_of(self.ledger, found, cards)],
            "alarm_count": len(alarms),
            "alarm_rows": more[:MOST_ROWS] if page == 1 else [],
            "sections": sections,
            "pager": _pager("/", {"q": searched}, page, last),
        }

    def prompt(self, query: Query) -> Values | None:
        """Return one prompt, None where there is none of that name."""
        # Grafana's links name a prompt without a version so.
        group = query.get("group", "").removesuffix("@")
        found = read_prompt(self.ledger, group, memory=self.memory)
        if found is None:
            return None
        streams = [
            (row, report, standing_case(row, found, opened=place == 0))
            for place, (row, report) in enumerate(zip(found.rows, found.standing, strict=True))
        ]
        return {"prompt": found, "streams": streams, "recorded": found.recorded_content}

    def prompts(self, query: Query) -> Values | None:
        """Return the folder's prompts, or one of them: None where there is none of that name."""
        from promptguard.certifying.pages import PromptList, read_list, read_page

        name = query.get("prompt", "")
        if not name or not self._prompts:
            return {"found": read_list(self._prompts) if self._prompts else PromptList(""), "page": None}
        try:
            page = read_page(self._prompts, name, query.get("from", ""), query.get("to", ""))
        except PromptGuardError as error:
            return {"found": PromptList(self._prompts, problem=str(error)), "page": None}
        return None if page is None else {"page": page, "measured": self._measured(name)}

    def _measured(self, name: str) -> dict[str, list[Row]]:
        """Return version -> what the ledger has measured of it."""
        found: dict[str, list[Row]] = {}
        for row in read_overview(self.ledger, memory=self.memory).rows:
            prompt, at, version = row.group.rpartition("@")
            if at and prompt == name and row.judging:
                found.setdefault(version, []).append(row)
        return found

    def rollouts(self, _query: Query) -> Values:
        """Return the newest rollouts with their evidence, and their steps, newest first."""
        found = read_rollouts(self.ledger, most=MOST_ROLLOUTS)
        shown = {told["number"] for told in found}
        steps = [step for step in reversed(read_steps(self.ledger)) if step["rollout"] in shown]
        return {"found": found, "steps": steps[:MOST_STEPS]}

    def pairs(self, query: Query) -> Values:
        """Return pairs, those furthest apart first."""
        found = read_pairs(self.ledger, _filter(query))
        return {
            "found": found,
            "recorded": any(pair.texts for pair in found.pairs),
            "window_words": _window_words(found),
            "pager": _pairs_pager(found),
        }

    def pair(self, query: Query) -> Values | None:
        """Return one pair in full, None where there is none of that number."""
        found = read_pair(self.ledger, number(query.get("id"), 0))
        return None if found is None else {"pair": found, "recorded": found.texts is not None}

    def identities(self, _query: Query) -> Values:
        """Return who answered."""
        return {"found": read_identities(self.ledger, memory=self.memory)}

    def cost(self, _query: Query) -> Values:
        """Return what it cost."""
        return {"found": read_cost(self.ledger)}

    def unmeasured(self, _query: Query) -> Values:
        """Return what was not measured."""
        return {"found": read_unmeasured(self.ledger)}

    def actions(self, _query: Query) -> Values:
        """Return what was done and what holds."""
        return {"found": read_actions(self.ledger)}


def _sections(
    rows: list[Row], page: int, *, calm: bool, searched: bool
) -> tuple[list[tuple[str, list[Row], int, bool, str]], int]:
    """Return (title, rows shown, how many there are, unfolded?, key) of all but alarms, and the last page's number."""
    known = {
        "unmeasured": ("Not measured", [row for row in rows if row.judging and row.status == "unmeasured"]),
        "acknowledged": (
            "Acknowledged",
            [row for row in rows if row.judging and row.status == "drift" and row.acknowledged],
        ),
        "quiet": ("Quiet", [row for row in rows if row.judging and row.status == "no_drift"]),
        "tests": ("Self-tests", [row for row in rows if not row.judging and not row.alarming]),
    }
    first, found = MOST_ROWS * (page - 1), []
    longest = max((len(some) for _, some in known.values()), default=0)
    for key, (title, some) in known.items():
        shown = some[first : first + MOST_ROWS]
        if shown:
            few = len(some) <= MOST_UNFOLDED and key != "tests"
            opened = searched or page > 1 or few or (calm and key != "tests")
            found.append((title, shown, len(some), opened, key))
    return found, max(1, -(-longest // MOST_ROWS))


def _pager(path: str, values: Mapping[str, object], page: int, last: int) -> list[tuple[str, str]]:
    kept = {name: value for name, value in values.items() if value}
    found = []
    if page > 1:
        found.append(("Previous", f"{path}?{urlencode({**kept, 'page': page - 1})}"))
    if page < last:
        found.append((f"Next ({page} of {last})", f"{path}?{urlencode({**kept, 'page': page + 1})}"))
    return found


def _filter(query: Query) -> Filter:
    given = query.get("show", "")
    show: Show = next((known for known in SHOWS if known == given), "different")
    return Filter(
        group=query.get("group") or None,
        stream=query.get("stream") or None,
        show=show,
        newest_first=query.get("order") == "newest",
        before=number(query.get("before"), 0) or None,
        page=number(query.get("page"), 1),
    )


def _window_words(found: Pairs) -> str:
    if not found.seen:
        return "No pair has been made yet."
    said = {"different": "differ", "all": "are there", "lost": "were not compared"}[found.filter.show]
    order = "newest first" if found.filter.newest_first else "furthest apart first"
    return (
        f"{found.matching:,} of {found.seen:,} pairs {said}, {order}. Looked at are those of "
        f"{when(found.oldest_at)} to {when(found.newest_at)}."
    )


def _pairs_pager(found: Pairs) -> list[tuple[str, str]]:
    asked = found.filter
    values: dict[str, object] = {
        "group": asked.group, "stream": asked.stream, "show": asked.show, "order": "newest" if asked.newest_first else None,
        "before": asked.before,
    }  # fmt: skip
    pages = _pager("/pairs", values, asked.page, found.pages)
    if found.older is not None:
        older = {name: value for name, value in {**values, "before": found.older}.items() if value}
        pages.append(("Older pairs", f"/pairs?{urlencode(older)}"))
    return pages


def number(text: str | None, default: int) -> int:
    """Return a number of a query, the default for what is none."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 19 else default
