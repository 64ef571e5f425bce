"""Which ledger a command means: the one named, else the one that wrap() would use here."""

from __future__ import annotations

import typer

OPTION = typer.Option(help="ledger directory", show_default="of the settings, else .promptguard")


def ledger_or_setting(given: str | None) -> str:
    """Return the ledger's directory. Raises ConfigurationError for a setting that is wrong."""
    if given is not None:
        return given
    from promptguard.settings import current

    return str(current().ledger)
