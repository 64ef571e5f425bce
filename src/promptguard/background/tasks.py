"""What waits in the shadow queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptguard.core.effects import Job
from promptguard.core.model import Facts, PromptReference, Reading, Request

if TYPE_CHECKING:
    from promptguard.background.asker import Asker


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored row, taken from the ledger when it is due."""

    stream: str
    """`replay`, or `placebo` for a pinned snapshot's own answer"""
    slot: int
    group: str
    clusters: tuple[str, ...]
    at: float
    call: int


@dataclass(frozen=True, slots=True)
class StoredLoss(Stored):
    """A call that had no answer to store. It claims its question in its turn, as an answer does."""

    reason: str


@dataclass(frozen=True, slots=True)
class StoredCall(Stored):
    """A stored request with its one unused answer, to be asked again."""

    model: str
    request: Request
    facts: Facts
    prompt: PromptReference | None
    answer: Reading
    link: str | None = None
    """the application's call in telemetry, if there was any"""
    subject: str = ""
    """keyed digest of whom the call is about"""


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of background work: a sampled call, a stored one whose turn it is, or what a source does itself."""

    asker: Asker
    job: Job | None = None
    banked: StoredCall | StoredLoss | None = None
    run: Callable[[], None] | None = None
    """what a source of questions does by itself, when its turn comes"""
