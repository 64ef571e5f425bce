"""The label of a rollout's prompt: moved at the end, and never over a move that somebody made by hand meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from promptguard.core.rollouts import Rollout
from promptguard.errors import PromptGuardError
from promptguard.sources.library import open_prompts
from promptguard.templates.labels import LabelElsewhere


@dataclass(frozen=True, slots=True)
class InTheWay:
    """Why a label was not moved; `by_hand` where somebody has put it elsewhere, which waits for somebody to go on."""

    why: str
    by_hand: bool


def move_label(rollout: Rollout, by: str) -> InTheWay | None:
    """Put a prompt's label on the version that was rolled out, if it stands on the one before; returns what is in the way.

    It is looked at and moved under one lock: a move by hand wins, whenever it comes.
    """
    if rollout.is_model:
        return None
    try:
        library = open_prompts(rollout.folder)
        if rollout.label in library.labels(rollout.subject):
            reference, why = f"{rollout.subject}@{rollout.to}", f"rollout {rollout.number} completed"
            library.label(reference, rollout.label, why=why, by=by, only_from=rollout.before)
    except LabelElsewhere as error:
        return InTheWay(moved_by_hand(error.version), by_hand=True)
    except PromptGuardError as error:
        return InTheWay(f"the label {rollout.label} cannot be moved: {error}", by_hand=False)
    return None


def moved_by_hand(version: str) -> str:
    """Return what is said of a label that somebody has put on `version`."""
    return f"label moved by hand to {version}"


def label_elsewhere(rollout: Rollout) -> str | None:
    """Return where the label of a rollout under way stands, if on neither of its versions; None where nobody can tell.

    Only a folder is looked at: whoever shows a ledger must not be made to fetch what a row of it names.
    """
    if not rollout.is_live or rollout.is_model or not Path(rollout.folder).is_absolute():
        return None
    try:
        stands = open_prompts(rollout.folder).labels(rollout.subject).get(rollout.label)
    except PromptGuardError:
        return None
    return None if stands in (None, rollout.before, rollout.to) else stands
