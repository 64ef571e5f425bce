"""An alarm, as who is told of it receives it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from promptguard.verdict.values import Verdict


def what_happened(asked: str, other: str) -> str:
    """Return what an alarm is about: that `asked` changed, or where two models differ, that `other` is not as it is."""
    return f"{other} answers differently from {asked}" if other else f"the model behind {asked} changed"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm: given to the functions in `on_drift`, at least once.

    Attributes:
        group: prompt and version (`triage@3`), a name given by `promptguard.group`, or a digest of instructions; "" where
            all prompts together changed before any could alarm by itself
        model: the model that was asked for, whose answers changed
        stream: "candidate", "replay" or "canary": what it was compared with
        time: when the alarm rang (UTC)
        call: number of the call that completed the evidence, counted in the process that made it
        pairs: pairs of this group and epoch when it rang
        log10_evidence: evidence at that moment, as a power of ten
        sentence: what changed, since when and by how much, in plain words
        undo: the shell command that says that the alarm is known: routes end, and a new epoch begins
        verdict: the group's verdict; None where it cannot be read from the ledger. Its attributes can be read from the
            alarm itself as well (`alarm.status`, `alarm.changes`, `alarm.onset`), as functions written for verdicts do
    """

    group: str
    model: str
    stream: str
    time: datetime
    call: int
    pairs: int
    log10_evidence: float
    sentence: str
    undo: str
    verdict: Verdict | None = None

    def __str__(self) -> str:
        """Say whose answers changed, how, and what to run once that is known: for a log or a message."""
        whose = self.group or "all prompts together"
        text = f"{whose} ({self.model}, {self.stream} stream): {self.sentence} Once it is known: {self.undo}"
        return " ".join(text.splitlines())  # a model's name is whatever the application gave

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Return what the verdict has and the alarm has not."""
            if name.startswith("__"):
                raise AttributeError(name)
            verdict = object.__getattribute__(self, "verdict")
            if verdict is None:
                raise AttributeError(f"an Alarm without a verdict has no {name!r}")
            return getattr(verdict, name)
