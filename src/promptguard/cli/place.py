"""Which ledger a command means: the one named, else the one that wrap() would use here."""

from __future__ import annotations

import getpass
from pathlib import Path

import typer

from promptguard.core.epochs import shown_group
from promptguard.core.streams import STREAMS

OPTION = typer.Option(help="ledger directory", show_default="of the settings, else .promptguard")


def ledger_or_setting(given: str | None) -> str:
    """Return the ledger's directory. Raises ConfigurationError for a setting that is wrong."""
    if given is not None:
        return _as_text(given)
    from promptguard.settings import current

    return _as_text(current().ledger)


def _as_text(ledger: str | Path) -> str:
    """Return a ledger as text; of a database, as text that does not show its password."""
    from promptguard.directories import check_ledger

    found = check_ledger(ledger)
    return str(found) if isinstance(found, Path) else found


def complete_group(context: typer.Context, incomplete: str) -> list[str]:
    """Return the ledger's prompts that begin so, alarms first, for the tab key; none where it cannot be read."""
    from promptguard.errors import PromptGuardError

    given = context.params.get("ledger")
    try:
        from promptguard.report.overview import read_overview

        rows = read_overview(ledger_or_setting(given if isinstance(given, str) else None)).rows
    except PromptGuardError:
        return []
    names = dict.fromkeys(shown_group(row.group) for row in rows)
    return [name for name in names if name.startswith(incomplete)]


def complete_stream(incomplete: str) -> list[str]:
    """Return the streams that begin so, for the shell's tab key."""
    return [stream for stream in STREAMS if stream.startswith(incomplete)]


def who() -> str:
    """Return who runs the command, by the system's name; "" where it has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
