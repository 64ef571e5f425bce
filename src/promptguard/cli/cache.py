"""`promptguard cache stats|clear`: what a cache on disk, or on a server, holds and did, and how to empty it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptguard.cli.place import OPTION, ledger_or_setting

if TYPE_CHECKING:
    from promptguard.cache.upkeep import Contents
    from promptguard.report.model import CacheUse

SHORT = "look at the response cache, or empty it"

app = typer.Typer(
    help="Look at the response cache on disk or on a server, or empty it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_JSON = typer.Option("--json", help="print JSON")


@app.command()
def stats(
    ledger: Annotated[str | None, OPTION] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Tell what the cache holds, by model and tag, and how often it answered, missed or was passed by, and why.

    The cache is in the ledger's directory, or on the server that settings name (PROMPTGUARD_CACHE). The counts are of every
    process that used the ledger, of caches in memory too. Exit codes: 0 told, 2 wrong use.
    """
    place = ledger_or_setting(ledger)
    told = _use(place)
    told["contents"] = asdict(_contents(place, counted=told["hits"] or told["misses"] or told["bypassed"]))
    if as_json:
        json.dump(told, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _show(told)


@app.command()
def clear(
    ledger: Annotated[str | None, OPTION] = None,
    tag: Annotated[str | None, typer.Option(help="only entries with this tag")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Remove every entry, or those with a tag; running processes notice within seconds.

    Exit codes: 0 done, 2 wrong use.
    """
    from promptguard.cache.upkeep import clear as empty
    from promptguard.keeping import cache_of, secret_of
    from promptguard.terminal.verdict import console, quoted

    place = ledger_or_setting(ledger)
    removed = empty(cache_of(place), secret_of(place), tag)
    if as_json:
        json.dump({"removed": removed, "tag": tag}, sys.stdout)
        sys.stdout.write("\n")
    else:
        console().print(quoted(f"{_entries(removed)} removed" + (f" with tag {tag}" if tag else "")))


def _contents(ledger: str, *, counted: object) -> Contents:
    """Return what lies on disk: nothing where a cache in memory is all that has counted."""
    from promptguard.cache.upkeep import Contents, contents
    from promptguard.keeping import cache_of, secret_of

    place = cache_of(ledger)
    if counted and isinstance(place, Path) and not place.exists():
        return Contents()
    return contents(place, secret_of(ledger))


def _use(ledger: str) -> dict[str, Any]:
    """Return the ledger's counts; zeros where no process has counted yet."""
    from promptguard.errors import InputFileError
    from promptguard.report.read import read_report

    try:
        use: CacheUse | None = read_report(ledger).cache
    except InputFileError:
        use = None
    other = dict(use.other) if use else {}
    return {
        "hits": use.hits if use else 0,
        "joined": other.pop("hit: joined", 0),
        "misses": use.misses if use else 0,
        "bypassed": {k.partition(": ")[2]: v for k, v in sorted(other.items()) if k.startswith("bypass: ")},
        "saved_tokens": {k: {"input": a, "output": b} for k, (a, b) in use.saved_tokens.items()}
        if use
        else {},
    }


def _show(told: dict[str, Any]) -> None:
    from promptguard.terminal.verdict import console, quoted, table

    out, held = console(), told["contents"]
    span = " to ".join(_day(held[end]) for end in ("oldest", "newest") if held[end] is not None)
    out.print(f"{_entries(held['entries'])}, {held['bytes']:,} bytes" + (f", {span}" if span else ""))
    if held["unreadable"]:
        out.print(
            f"{held['unreadable']} rows that this secret did not write, or that were damaged: never served"
        )
    rows = table("", "count")
    rows.add_row("hits", str(told["hits"]))
    rows.add_row("  of these waited for an equal call", str(told["joined"]))
    rows.add_row("misses", str(told["misses"]))
    for reason, count in told["bypassed"].items():
        rows.add_row(quoted(f"passed by: {reason}"), str(count))
    for kind in ("models", "tags"):
        for name, count in sorted(held[kind].items()):
            rows.add_row(quoted(f"entries of {kind[:-1]} {name}"), str(count))
    out.print(rows)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"
