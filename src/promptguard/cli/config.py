"""`promptguard config show`: every setting, what holds, and where it was written."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from promptguard.settings.listing import Setting

SHORT = "look at the settings and where each came from"

app = typer.Typer(help="Look at the settings.", no_args_is_help=True, rich_markup_mode=None)

SECRETS = ("PROMPTGUARD_CACHE_KEY", "PROMPTGUARD_SECRET")
"""Variables that are never shown, only whether they are set."""


@app.callback()
def _config() -> None:
    """Look at the settings."""


@app.command()
def show(
    sources: Annotated[bool, typer.Option("--sources", help="tell where each value was written")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, with the sources")] = False,
) -> None:
    """Tell what holds for arguments of wrap() that are not given in code, in the working directory and environment of now.

    Code counts more than PROMPTGUARD_* variables, these more than [tool.promptguard] in the nearest pyproject.toml, and
    that more than defaults. Secrets are never shown. Exit codes: 0 told, 2 a setting is wrong.
    """
    from promptguard.settings.listing import settings

    rows = settings()
    if as_json:
        told = {
            "settings": [asdict(row) for row in rows],
            "secrets": {name: name in os.environ for name in SECRETS},
        }
        json.dump(told, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        sys.stdout.write(_line(row, width, sources=sources))
    for name in SECRETS:
        sys.stdout.write(f"{name}: {'set (not shown)' if name in os.environ else 'not set'}\n")


def _line(row: Setting, width: int, *, sources: bool) -> str:
    return f"{row.name:<{width}}  {_text(row)}{f'  ({row.source})' if sources else ''}\n"


def _text(row: Setting) -> str:
    """Return a value as it would be written in a variable."""
    if row.value is None:
        return "none"
    if row.name == "on_drift" and isinstance(row.value, list):
        return ", ".join(map(_action, row.value)) or "nothing but the log"
    return row.value if isinstance(row.value, str) else json.dumps(row.value)


def _action(told: dict[str, Any]) -> str:
    """Return an action as the variable has it."""
    if told["do"] == "route":
        return f"{'dry:' if told['dry_run'] else ''}route:{told['to']}"
    if told["do"] == "bypasscache":
        return "bypass" if told["dry_run"] else "bypass:live"
    if told["do"] == "rollback":
        return f"{'dry:' if told['dry_run'] else ''}rollback:{told['label']} in {told['prompts']}"
    return str(told["do"])
