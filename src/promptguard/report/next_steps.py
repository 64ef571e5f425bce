"""What do I do now? The steps for one alarm, with the commands or settings of this very case, and what each will do."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from promptguard.core.actions import Done
from promptguard.core.epochs import shown_group
from promptguard.directories import ledger_option
from promptguard.ledger.reading import reading
from promptguard.report.actions import concerning
from promptguard.report.overview import Overview, Row, split_name, whole_verdict
from promptguard.verdict import Verdict
from promptguard.verdict.words import moment, utc

Kind = Literal["shell", "python", "toml", "text", "page"]
_SNAPSHOT_HINT = "a dated snapshot of the model, as your provider lists them"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        key: names it for links and tests
        title: what it is, as an order
        kind: what `lines` are: for a shell, for Python code, for pyproject.toml, to be pasted, or a page to open
        lines: the exact text
        effect: what it will do, and how it is taken back
    """

    key: str
    title: str
    kind: Kind
    lines: tuple[str, ...]
    effect: str


@dataclass(frozen=True, slots=True)
class Case:
    """What the steps depend on: the alarm, and what is true around it."""

    row: Row
    verdict: Verdict
    ledger: str
    in_force: tuple[Done, ...] = ()
    earlier: tuple[str, ...] = ()
    """earlier versions of the prompt that have no alarm, the newest first, as `name@version`"""
    recorded_content: bool = False


def cases_of(ledger: str | Path, overview: Overview, rows: Sequence[Row]) -> tuple[Case, ...]:
    """Return the cases of rows of an overview; of each, its verdict alone is read.

    Raises InputFileError when there is no ledger, or it cannot be read.
    """
    with reading(ledger) as connection:
        verdicts = [whole_verdict(connection, row) for row in rows]
    return tuple(
        Case(
            row=row,
            verdict=verdict,
            ledger=overview.ledger,
            in_force=concerning(row.group, {row.control}, overview.in_force),
            earlier=earlier_versions(row, overview.rows),
            recorded_content=overview.recorded_content,
        )
        for row, verdict in zip(rows, verdicts, strict=True)
    )


def earlier_versions(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the earlier versions of a row's prompt that have no alarm in its stream, the newest first."""
    name, version = split_name(row.group)
    found = {
        other.group: _number(split_name(other.group)[1])
        for other in rows
        if split_name(other.group)[0] == name and other.stream == row.stream and other.status != "drift"
    }
    earlier = [group for group, number in found.items() if 0 < number < _number(version)]
    return tuple(sorted(earlier, key=lambda group: -found[group]))


def _number(version: str) -> int:
    return int(version) if version.isdecimal() and len(version) < 10 else 0


def next_steps(case: Case) -> tuple[Step, ...]:
    """Return what can be done about an alarm, the harmless first."""
    if not case.row.judging:
        return (_look(case), *_instrument(case), _incident(case))
    steps = [
        _look(case),
        _pin(case),
        _route(case),
        _roll_back(case),
        _accept(case),
        _widen(case),
        _incident(case),
    ]
    return tuple(step for step in steps if step is not None)


def acknowledge_command(row: Row, ledger: str) -> str:
    """Return the shell command that says that an alarm is known."""
    which = "--all" if not row.judging else shlex.quote(shown_group(row.group))
    return f"promptguard acknowledge {which} --stream {row.stream} {ledger_option(ledger)}"


def moved_from_to(row: Row, verdict: Verdict) -> tuple[str, str]:
    """Return the model to trust and the one that is not as it was: the same name where it changed in place."""
    if row.stream == "candidate" and not verdict.control_moved:
        return row.control, row.candidate
    return row.candidate, row.control


def _look(case: Case) -> Step:
    row = case.row
    lines = [f"promptguard dashboard {ledger_option(case.ledger)} --open"]
    if case.recorded_content:
        text = "Shows the pairs whose answers lie furthest apart, word by word. Changes nothing."
        return Step("compare", "Look at the answers side by side", "shell", tuple(lines), text)
    text = (
        "Texts of this prompt are not kept. With this setting those of later pairs are, in the ledger directory, readable by "
        f"you alone, for 30 days; without them the pairs of the {row.stream} stream show in what they differ."
    )
    return Step(
        "record", "Keep texts, to see the answers side by side", "python",
        ("promptguard.wrap(client, ..., record_content=True)",), text,
    )  # fmt: skip


def _pin(case: Case) -> Step | None:
    row = case.row
    trusted, changed = moved_from_to(row, case.verdict)
    if row.stream == "candidate" and not case.verdict.control_moved:
        return Step(
            "stay", f"Do not move this prompt to {changed} yet", "python", (f'model="{trusted}"',),
            f"The application keeps asking for {trusted}. {changed} answers this prompt otherwise: change the prompt, or accept "
            "the difference below.",
        )  # fmt: skip
    if trusted == changed:
        return Step(
            "pin", "Pin a snapshot in your code", "python", ('model="..."  # ' + _SNAPSHOT_HINT,),
            f"Calls stop following {changed}. A fixed name that changed in place cannot be had back: choose one that answers as "
            "before, and watch it with shadow=promptguard.Shadow(model=...).",
        )  # fmt: skip
    return Step(
        "pin", f"Pin {trusted} in your code", "python", (f'model="{trusted}"',),
        f"Calls stop following {changed}; the snapshot {trusted} still answers as before the change. Providers retire "
        "snapshots: look for its date.",
    )  # fmt: skip


def _route(case: Case) -> Step | None:
    trusted, changed = moved_from_to(case.row, case.verdict)
    if case.row.stream == "candidate" and not case.verdict.control_moved:
        return None
    route = next(
        (done for done in case.in_force if done.kind == "route" and done.asked == case.row.control), None
    )
    if route is not None:
        return Step(
            "routed", f"Calls are routed to {route.to}: leave it so until you have decided, or take it back", "shell",
            (f"promptguard undo {route.id} {ledger_option(case.ledger)}",),
            f"Since {moment(route.at)} calls of this prompt that ask for {route.asked} are sent to {route.to}. This ends it in every "
            "process and leaves the alarm standing; accepting ends both.",
        )  # fmt: skip
    to = trusted if trusted != changed else "SNAPSHOT"
    return Step(
        "route", "Route calls until you have decided", "toml", ("[tool.promptguard]", f'on_drift = ["warn", {{ route = "{to}" }}]'),
        f"From the next alarm on, calls of a changed prompt that ask for {changed} are sent to {to}, without a change of code, "
        f"until somebody acknowledges it. Or PROMPTGUARD_ON_DRIFT=route:{to} in the environment.",
    )  # fmt: skip


def _roll_back(case: Case) -> Step | None:
    if not case.earlier:
        return None
    version = case.earlier[0]
    return Step(
        "roll-back", f"Roll the prompt back to {version}", "python", (f'prompt = library.get("{version}")',),
        f"{version} has no alarm. Right where this version of the prompt is what brought the change out; the model stays as it is.",
    )  # fmt: skip


def _accept(case: Case) -> Step:
    return Step(
        "accept", "Accept it as the new baseline", "shell", (f"{acknowledge_command(case.row, case.ledger)} --accept",),
        "The alarm is known: routes end, calls no longer raise, and a new epoch with its own alpha begins. Today's answers are the "
        "reference: what was stored before is not compared with any more, and Shadow(model=...) has to name a snapshot of today. "
        "Only a further change alarms; one that takes this one back is told as such. The record of this one stays.",
    )  # fmt: skip


def _widen(case: Case) -> Step | None:
    if case.row.stream != "candidate" or case.row.status != "drift":
        return None
    verdict = case.verdict
    shift = verdict.largest_shift
    if shift is None:
        return None
    tolerance = math.ceil(20 * shift + 1e-9) / 20
    if tolerance >= 1 or tolerance <= (verdict.tolerance or 0.0):
        return None
    return Step(
        "widen", "Widen the tolerance, if a difference this large is fine", "toml",
        ("[tool.promptguard.drift]", f"tolerance = {tolerance:g}"),
        f"Candidate pairs then alarm only when more than about {100 * tolerance:.0f} % of the answers differ in some feature (the "
        f"largest shift here is {100 * shift:.0f} %). It holds for all prompts of this ledger, and small changes are seen later, "
        "or not at all.",
    )  # fmt: skip


def _instrument(case: Case) -> Sequence[Step]:
    what = (
        "One model asked twice at the same moment answers differently: the two sides do not go through the same pipeline."
        if case.row.stream == "repeat"
        else "A pinned snapshot answers differently hours later: something other than the model changes answers over time."
    )
    return (
        Step(
            "doctor", "Find what differs between the two sides", "shell",
            (f"promptguard doctor {ledger_option(case.ledger)}",),
            f"{what} Until this is settled the other streams count as unmeasured. Look at proxies, gateways, system prompts that "
            "carry a time or an id, and parameters that one side alone has.",
        ),
        Step(
            "accept", "Once it is mended, begin anew", "shell", (acknowledge_command(case.row, case.ledger),),
            "The self-test starts from nothing, and the other streams speak again.",
        ),
    )  # fmt: skip


def _incident(case: Case) -> Step:
    row = case.row
    since = utc(row.since) if row.since is not None else "an unknown moment"
    span = (
        f" (90 %: {utc(row.since_low)} to {utc(row.since_high)})"
        if row.since_low is not None and row.since_high is not None
        else ""
    )
    trusted, changed = moved_from_to(row, case.verdict)
    differs = row.stream == "candidate" and not case.verdict.control_moved
    what = f"differ from those of {trusted}" if differs else "changed"
    done = (
        "; ".join(f"{done.sentence()} since {utc(done.at)}" for done in case.in_force)
        or "nothing but a warning"
    )
    lines = (
        f"[{shown_group(row.group)}] answers of {changed or 'the model'} {what} ({row.stream} stream)",
        f"Since: {since}{span}",
        f"Alarm: {utc(row.alarm_at) if row.alarm_at else 'none'}, after {case.verdict.alarm_at or row.pairs:,} pairs",
        f"Evidence: 10^{row.log10_evidence:.1f}, alarm line 10^{row.log10_threshold:.1f}",
        f"What: {row.sentence()}",
        f"Done: {done}",
        *(f"Take back: promptguard undo {done.id} {ledger_option(case.ledger)}" for done in case.in_force),
        f"Once it is known: {acknowledge_command(row, case.ledger)}",
    )
    return Step(
        "incident", "Open an incident", "text", lines, "A text to paste; it holds no prompt and no answer."
    )
