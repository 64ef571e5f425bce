"""`promptguard doctor`: what is set up well here, what is not, and what to do about it."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from promptguard.errors import ConfigurationError
from promptguard.verdict.words import counted

BROKEN = 1
MARKS = {"ok": "●", "warning": "▲", "broken": "✗"}

SHORT = "look at the environment and at what is covered"
EXAMPLES = (
    "promptguard doctor",
    "promptguard doctor --client app.llm:client",
)


def run(
    ledger: Annotated[
        str | None, typer.Option(help="ledger directory", show_default="of the settings, else .promptguard")
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(metavar="MODULE:ATTRIBUTE", help="also look at one client, such as app.llm:client"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Look at the environment, permissions, versions, clocks, the ledger, prices, proxies, and what is covered and why not.

    Writes nothing and asks nobody. Credentials are never shown. Exit codes: 0 fine, or warnings; 1 something is broken; 2
    usage error.
    """
    from promptguard.doctor import examine, worst

    findings = examine(ledger, None if client is None else _client(client))
    level = worst(findings)
    if as_json:
        told = {"status": level, "checks": [asdict(each) for each in findings]}
        json.dump(told, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        for each in findings:
            sys.stdout.write(f"{MARKS[each.level]} {each.check}: {_safe(each.text)}\n")
        counts = {name: sum(each.level == name for each in findings) for name in ("broken", "warning")}
        sys.stdout.write(f"{counts['broken']} broken, {counted(counts['warning'], 'warning')}\n")
    raise typer.Exit(BROKEN if level == "broken" else 0)


def _client(place: str) -> object:
    """Return what MODULE:ATTRIBUTE names. Raises ConfigurationError."""
    module, _, attribute = place.partition(":")
    if not module or not attribute:
        raise ConfigurationError(f"--client {place!r} must be MODULE:ATTRIBUTE, such as app.llm:client")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: object = importlib.import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except Exception as error:
        raise ConfigurationError(
            f"--client {place!r} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return found


def _safe(text: str) -> str:
    """Return text without control characters: names of models come from providers."""
    return "".join(each if each.isprintable() else "�" for each in text)
