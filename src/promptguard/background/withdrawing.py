"""A drift verdict withdraws certificates: which models it speaks of, and the folders in which they are certified."""

from __future__ import annotations

import logging
import sys

from promptguard.core.options import Action, RollBack
from promptguard.verdict import Verdict

log = logging.getLogger("promptguard")

_LIBRARY = "promptguard.templates.library"


def models_of(verdict: Verdict, asked: str, candidate: str) -> tuple[str, ...]:
    """Return the models that an alarm speaks of (docs/decisions/0048-withdrawals.md).

    In streams that ask the same model again it is that one. Where two models are compared, it is the one asked if it moved
    away from what it was, or if the other is a snapshot of it by name; else, beyond a tolerance, the second model, which
    was certified to be within one. That two models differ, without a tolerance, withdraws nothing.
    """
    if verdict.stream != "candidate":
        return (asked,)
    is_snapshot = candidate.startswith(asked) or asked.startswith(candidate)
    if verdict.control_moved or (is_snapshot and candidate != ""):
        return (asked,)
    return (candidate,) if verdict.tolerance is not None and candidate else ()


def folders_of(actions: tuple[Action, ...]) -> list[str]:
    """Return the folders of prompts that are known here: those of actions, and those that this process has opened."""
    named = [str(action.prompts) for action in actions if isinstance(action, RollBack)]
    library = sys.modules.get(_LIBRARY)  # who has not opened one has not imported it
    opened: list[str] = [] if library is None else library.opened()
    return list(dict.fromkeys([*named, *opened]))


def withdraw(folders: list[str], group: str, models: tuple[str, ...], why: str) -> list[dict[str, object]]:
    """Withdraw what certifies a prompt's version on models, in all folders; returns what is noted of each.

    Nothing where `group` is no version of a prompt. What cannot be done is logged, and never raised.
    """
    name, at, version = group.rpartition("@")
    found: list[dict[str, object]] = []
    for folder in folders if at and name else ():
        for model in models:
            found += _in_folder(folder, name, version, model, why)
    return found


def _in_folder(folder: str, name: str, version: str, model: str, why: str) -> list[dict[str, object]]:
    from promptguard.templates.library import open_library

    try:
        library = open_library(folder)
        lines = library.withdraw(f"{name}@{version}", model, why=why, by="promptguard")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the folder, the alarm is still to be acted on
        log.warning("the certificates of %s@%s in %s cannot be withdrawn: %s", name, version, folder, error)
        return []
    return [
        {"version": line.reference, "model": line.model, "folder": str(library.directory)} for line in lines
    ]
