"""What a ledger says of itself, of the clocks that wrote to it, and of what was and was not covered."""

from __future__ import annotations

import time
from collections.abc import Iterator

from promptguard.directories import Place
from promptguard.doctor.findings import Finding, Level
from promptguard.errors import InputFileError, NoLedger
from promptguard.report.health import Health, read_health
from promptguard.report.read import read_report
from promptguard.verdict.words import counted, utc

AHEAD_SECONDS = 60.0
"""How far a row may lie in the future."""
SKEW_SECONDS = 300.0
"""How far rows may lie out of order: a call may take three minutes until it is a pair."""
EARLIEST = 1_704_067_200.0
"""2024: a clock before it was never set."""
MOST = 12


def ledger(place: Place) -> Iterator[Finding]:
    """Look at whether the ledger can be read, in the words of `promptguard status`."""
    try:
        report = read_report(place)
        health = read_health(place)
    except NoLedger:
        yield Finding("ledger", "ok", f"{place}: no ledger yet; nothing was paired or counted here")
        return
    except InputFileError as error:
        yield Finding("ledger", "broken", str(error))
        return
    pairs = sum(stream.pairs for stream in report.streams)
    yield Finding(
        "ledger",
        "ok",
        f"{place}: readable, schema {health.schema}, {counted(pairs, 'pair')}, {report.status}",
    )
    if health.aside:
        text = f"set aside as damaged: {', '.join(health.aside)}; restore or remove them"
        yield Finding("ledger", "warning", text)
    if health.pending:
        yield Finding(
            "ledger",
            "warning",
            f"alarms not delivered to on_drift yet: {health.pending}; see the log of a process",
        )
    if health.faults:
        told = ", ".join(f"{name} ({count:,})" for name, count in health.faults[:MOST])
        yield Finding("ledger", "warning", f"faults of PromptGuard's own, which no caller saw: {told}")


def clock(place: Place) -> Iterator[Finding]:
    """Look for rows from the future, and for hosts whose clocks differ."""
    now = time.time()
    if now < EARLIEST:
        yield Finding("clock", "broken", f"this machine's clock says {utc(now)}: set it")
        return
    health = _health(place)
    if health is None:
        yield Finding("clock", "ok", f"this machine's clock says {utc(now)}")
        return
    ahead = health.newest - now
    if ahead > AHEAD_SECONDS:
        text = f"the ledger has rows of {utc(health.newest)}, {ahead:,.0f} s ahead of this machine: a clock is wrong"
        yield Finding("clock", "warning", text)
    if health.skew > SKEW_SECONDS:
        text = f"neighbouring pairs lie {health.skew:,.0f} s out of order: the clocks of processes differ; set them by NTP"
        yield Finding("clock", "warning", text)
    if ahead <= AHEAD_SECONDS and health.skew <= SKEW_SECONDS:
        yield Finding("clock", "ok", f"this machine's clock says {utc(now)}; no row is ahead of it")


def prices(place: Place) -> Iterator[Finding]:
    """Look for the prices of the models that were asked."""
    from promptguard.settings import current
    from promptguard.shadow.budget import list_price

    health = _health(place)
    models = () if health is None else health.models
    unknown = [model for model in models if list_price(model) is None]
    if not models:
        yield Finding("prices", "ok", "no model has been asked yet")
    elif not unknown:
        yield Finding("prices", "ok", f"known for all models asked: {', '.join(models[:MOST])}")
    else:
        shadow = current().shadow
        capped = shadow is not None and shadow.budget.usd_per_day is not None
        level: Level = "warning" if capped else "ok"
        text = (
            f"no list price for {', '.join(unknown[:MOST])}: costs count as 0, and a cap in USD lets none of their calls "
            "through; give Budget(price=Price(input=..., output=...))"
        )
        yield Finding("prices", level, text)


def coverage(place: Place) -> Iterator[Finding]:
    """Tell what is watched, what is not, and why."""
    try:
        report = read_report(place)
    except InputFileError:
        yield Finding("coverage", "ok", "nothing is known of calls yet")
        return
    streams = [f"{stream.stream} ({counted(stream.pairs, 'pair')})" for stream in report.streams]
    yield Finding("coverage", "ok", f"paired: {', '.join(streams) or 'nothing yet'}")
    for notice in report.notices:
        yield Finding("coverage", "warning", f"cannot work: {notice.text} (said {utc(notice.at)})")
    for each in report.passed_by[:MOST]:
        level: Level = (
            "warning" if each.reason.endswith("not known") or "no background client" in each.reason else "ok"
        )
        yield Finding("coverage", level, f"{each.sentence}: {each.reason}{_hint(each.reason)}")
    if len(report.passed_by) > MOST:
        yield Finding(
            "coverage", "ok", f"and {len(report.passed_by) - MOST} more reasons: promptguard status --json"
        )


def _hint(reason: str) -> str:
    if "no background client" in reason:
        return "; give Shadow(client=...) or Replay(client=...), a function that returns a fresh client"
    if reason.endswith("not known"):
        return "; classify it by wrap(fields={...}), docs/reference/fields.md"
    return ""


def _health(place: Place) -> Health | None:
    try:
        return read_health(place)
    except InputFileError:
        return None
