"""Puts a label of a changed prompt back on the version before: a file that the application's processes read."""

from __future__ import annotations

import logging

from promptguard.core.options import RollBack

log = logging.getLogger("promptguard")


def roll_back(action: RollBack, group: str) -> dict[str, str] | None:
    """Put the label back, or with `dry_run` only say where it would go; returns what is noted of it.

    None where nothing is to be done: `group` is no prompt of the folder, the label stands on another version than the
    changed one, or it has never stood elsewhere. What cannot be done is logged, and never raised.
    """
    from promptguard.templates.library import open_library

    name, at, version = group.rpartition("@")
    if not at:
        return None
    try:
        library = open_library(action.prompts)
        if library.labels(name).get(action.label) != version:
            return None
        before = library.earlier(name, action.label)
        if before is None:
            return None
        if not action.dry_run:
            library.rollback(name, action.label, why=f"drift of {group}", by="promptguard")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the folder, other actions are still to be done
        log.warning("the label %s of %s cannot be rolled back: %s", action.label, name, error)
        return None
    return {
        "to": before,
        "before": version,
        "label": action.label,
        "folder": str(library.directory.resolve()),
    }
