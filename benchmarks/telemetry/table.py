"""From what the cells recorded to verdicts, and to the second half of docs/reference/telemetry.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "telemetry.md"
MARK = "## Beside other instrumentation\n"
CASES = ("plain", "stream", "hit", "error", "shadow", "replay")
OURS = "promptguard.genai"
NOTES = {
    "a": "their metrics count the tokens of a hit apart, with `promptguard.cache.result=hit`",
    "i": "theirs cannot be reached while the call runs: ours is an INTERNAL span beside it, without model and tokens",
    "m": "theirs is there for a hit as well, as the SDK's method has returned; `promptguard.cache.result=hit` marks it",
    "d": "LangSmith does not tell of its run while an asynchronous stream begins: ours is a CLIENT span beside theirs",
    "f": "this kind of call fails with the instrumentation alone, without PromptGuard",
    "h": "theirs is there for a hit as well and cannot be reached, so nothing marks it",
    "t": "their metrics count the tokens of a hit",
    "b": "the SDK's own tracing and the instrumentation make a span each, also without PromptGuard",
    "c": "their own count of a stream's tokens differs from the provider's, also without PromptGuard",
}


@dataclass
class Cell:
    """One SDK beside one instrumentation: what is right, wrong, and worth a note, by case."""

    absent: str = ""
    wrong: list[str] = field(default_factory=list)
    notes: dict[str, set[str]] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """One word for the terminal."""
        if self.absent:
            return f"not run: {self.absent}"
        letters = " ".join(sorted({letter for found in self.notes.values() for letter in found}))
        return "; ".join(self.wrong) or f"right {letters}"


def judged(found: Mapping[str, Any]) -> Cell:
    """Hold what was recorded wrapped against what was recorded bare."""
    bare, wrapped = found["bare"], found["wrapped"]
    absent = wrapped.get("not there") or bare.get("not there")
    if absent:
        return Cell(absent=absent)
    cell = Cell()
    for case in CASES:
        for how in ("sync", "async"):
            name = f"{case} {how}"
            got = wrapped[name]
            base = bare.get(f"{'plain' if case in {'shadow', 'replay'} else case} {how}")
            if "failed" in got or "failed" in (base or {}):
                if "failed" not in (base or {}):
                    cell.wrong.append(f"{name}: {got['failed']}")
                else:
                    cell.notes.setdefault(case, set()).add("f")
                continue
            _judge(cell, name, case, got, base)
    return cell


def _judge(cell: Cell, name: str, case: str, got: Mapping[str, Any], base: Mapping[str, Any]) -> None:
    notes = cell.notes.setdefault(case, set())
    background = [span for span in got["spans"] if span["role"]]
    spans = [span for span in got["spans"] if not span["role"]]
    calls = [span for span in spans if span["name"] != "promptguard.call"]
    before = len(base["spans"])
    expected = before if case == "hit" else max(1, before)
    if (
        name == "stream async"
        and [span["scope"] for span in calls].count("langsmith") == 1
        and len(calls) == 2
    ):
        notes.add("d")
    elif len(calls) != expected:
        cell.wrong.append(f"{name}: {len(calls)} spans of the call, {expected} expected")
    if before > 1 and case == "plain":
        notes.add("b")
    if len(calls) < len(spans):
        notes.add("i")
    if case == "hit" and calls:
        notes.add("m" if any(span["cache"] == "hit" for span in calls) else "h")
    if got["tokens"].get("hit"):
        notes.add("a")
    if got["leaks"]:
        cell.wrong.append(f"{name}: text in {got['leaks']}")
    _judge_background(cell, name, case, background)
    _judge_tokens(cell, name, case, got, base)


def _judge_background(cell: Cell, name: str, case: str, background: Sequence[Mapping[str, Any]]) -> None:
    wanted = {"shadow": "candidate", "replay": "replay"}.get(case)
    if wanted is None:
        return
    if [span["role"] for span in background] != [wanted]:
        cell.wrong.append(f"{name}: background spans {[span['role'] for span in background]}")
    for span in background:
        if span["links"] != [f"{wanted}_of"] or not span["root"] or span["scope"] != OURS or span["canary"]:
            cell.wrong.append(f"{name}: background span {span}")


def _judge_tokens(cell: Cell, name: str, case: str, got: Mapping[str, Any], base: Mapping[str, Any]) -> None:
    counted = got["tokens"].get("billed", 0)
    each = 16  # what FakeProvider bills for the question and the answer of every cell
    billed = each * got["answered"]
    if counted == billed:
        return
    notes = cell.notes.setdefault(case, set())
    theirs = base["tokens"].get("billed", 0)
    if case == "hit" and counted == each and theirs:
        notes.add("t")
    elif theirs and counted - theirs == billed - each:
        notes.add("c")
    else:
        cell.wrong.append(f"{name}: {counted} tokens counted, {billed} billed")


def page(known: Mapping[str, Any], rows: Iterable[str], columns: Sequence[str]) -> tuple[str, int]:
    """Return the table as text, and how many cells are wrong."""
    lines = [f"| beside | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
    absent: dict[str, str] = {}
    wrong = 0
    used: set[str] = set()
    for row in rows:
        cells = []
        for column in columns:
            found = known.get(f"{row}|{column}")
            cell = Cell(absent="not run") if found is None else judged(found)
            wrong += bool(cell.wrong)
            used |= {letter for letters in cell.notes.values() for letter in letters}
            cells.append(_text(cell, absent))
        lines.append(f"| {row} | {' | '.join(cells)} |")
    notes = [f"- {letter}: {NOTES[letter]}." for letter in sorted(used & set(NOTES))]
    reasons = [f"- {number}: {reason}." for reason, number in absent.items()]
    return "\n".join([*lines, "", *notes, *reasons]) + "\n", wrong


def _text(cell: Cell, absent: dict[str, str]) -> str:
    if cell.absent:
        return f"– ({absent.setdefault(cell.absent, str(len(absent) + 1))})"
    if cell.wrong:
        return "✗ " + "; ".join(cell.wrong).replace("|", "/")[:200]
    found = sorted(
        {f"{case} {letter}" for case, letters in cell.notes.items() for letter in letters if letter != "i"}
    )
    letters = ["i"] if any("i" in letters for letters in cell.notes.values()) else []
    return " ".join(["✓", *letters, *([f"({', '.join(found)})"] if found else [])])


def write(text: str) -> None:
    """Put the table into the reference page, after its first half."""
    whole = PAGE.read_text("utf-8")
    head, mark, rest = whole.partition(MARK)
    before, line, _ = rest.partition("\n| beside ")
    assert mark, f"{PAGE} has no {MARK!r}"
    PAGE.write_text(
        f"{head}{mark}{before.rstrip()}\n\n{text}" if line else f"{head}{mark}{rest.rstrip()}\n\n{text}",
        "utf-8",
    )
