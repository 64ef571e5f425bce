"""`promptguard compat`: what a model takes of another one's requests."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptguard.cli.exits import WRONG_USE
from promptguard.cli.place import OPTION, ledger_or_setting
from promptguard.errors import InputFileError

if TYPE_CHECKING:
    from promptguard.compat.engine import Fitted
    from promptguard.compat.ruleset import Endpoint, Retirement

SHORT = "what would break if a request went to another model, and what to write instead"
app = typer.Typer(
    help="What a model takes of another one's requests.", no_args_is_help=True, rich_markup_mode=None
)
MOST_BYTES = 20_000_000


@app.callback()
def _compat() -> None:
    """Say what a model takes of another one's requests."""


@app.command()
def check(
    request: Annotated[
        str, typer.Argument(help="a file with the request's body as JSON; - for standard input")
    ],
    to: Annotated[str, typer.Option(help="the model it is to be asked of")],
    endpoint: Annotated[
        str, typer.Option(help="chat, responses, messages or generate; by default what the body looks like")
    ] = "",
    api_version: Annotated[
        str, typer.Option(help="the version of Anthropic's API that is asked, such as 2026-10-21")
    ] = "",
    rules: Annotated[str | None, typer.Option(help="a TOML file with rules of your own")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print JSON, with the body as it would be sent")
    ] = False,
) -> None:
    """Say what would break, why, and what to write instead, with the sources; asks nobody.

    Exit codes: 0 the question stays the same, 2 it becomes another one or cannot be asked, or the file is wrong.
    """
    from promptguard.compat.engine import fit
    from promptguard.compat.ruleset import rules_with

    body = _read(request)
    known = rules_with(rules)
    found = fit(body, to, _endpoint(endpoint, body), known, api_version)
    ends = known.retirement(to)
    if as_json:
        json.dump(_told(found, to, ends), sys.stdout, indent=2, default=str)
        sys.stdout.write("\n")
    else:
        _show(found, to, ends)
    if not found.is_comparable:
        raise typer.Exit(WRONG_USE)


@app.command()
def suggest(
    ledger: Annotated[str | None, OPTION] = None,
    rules: Annotated[str | None, typer.Option(help="a TOML file with rules of your own")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Write the rules that a ledger's refused questions suggest, as TOML: look at them, and keep what is right.

    Exit codes: 0 whether or not there is something to suggest, 2 wrong use.
    """
    from datetime import UTC, datetime

    from promptguard.compat.ruleset import rules_with
    from promptguard.compat.suggesting import suggested
    from promptguard.report.suggestions import suggestions
    from promptguard.report.unmeasured import read_unmeasured

    known, today = rules_with(rules), datetime.now(UTC).date()
    found = suggestions(read_unmeasured(ledger_or_setting(ledger)).passed_by)
    written = [
        (each, "" if each.rule else suggested(each.model, each.field, each.code, today, known))
        for each in found
    ]
    if as_json:
        told = [{**asdict(each), "sentence": each.sentence, "toml": toml} for each, toml in written]
        json.dump(told, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    if not written:
        sys.stdout.write("# no question was refused for a parameter\n")
    for each, toml in written:
        counted = f"{each.pairs:,} pair{'' if each.pairs == 1 else 's'}"
        known_by = f"rule {each.rule} makes it another question" if each.rule else "refused"
        sys.stdout.write(f"# {each.model}, `{each.field}`: {known_by}, {counted}\n{toml}\n")


def _read(path: str) -> dict[str, Any]:
    try:
        data = sys.stdin.buffer.read(MOST_BYTES + 1) if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise InputFileError(f"{path}: {error.strerror or error}") from None
    if len(data) > MOST_BYTES:
        raise InputFileError(f"{path}: a request has at most {MOST_BYTES} bytes")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputFileError(f"{path}: no JSON: {error}") from None
    if not isinstance(body, dict):
        raise InputFileError(f"{path}: the body of a request is an object")
    return body


def _endpoint(given: str, body: dict[str, Any]) -> Endpoint:
    if given in ("chat", "responses", "messages", "generate"):
        return given  # type: ignore[return-value]
    if given:
        raise InputFileError(f"--endpoint {given}: write chat, responses, messages or generate")
    if "contents" in body:
        return "generate"
    if "input" in body:
        return "responses"
    of_anthropic = "system" in body or str(body.get("model", "")).rpartition("/")[2].startswith("claude")
    return "messages" if of_anthropic else "chat"


def _told(found: Fitted, model: str, ends: Retirement | None) -> dict[str, Any]:
    return {
        "model": model,
        "severity": found.severity,
        "comparable": found.is_comparable,
        "applied": [
            {
                "rule": each.rule.id, "field": each.field, "op": each.rule.op, "severity": each.rule.severity,
                "sentence": each.sentence(), "error": each.rule.error.model_dump(), "sources": list(each.rule.sources),
                "checked": each.rule.checked,
            }
            for each in found.applied
        ],
        "notes": [{"id": note.id, "why": note.why, "sources": list(note.sources)} for note in found.notes],
        "ends": None if ends is None else ends.ends,
        "successor": None if ends is None else ends.successor,
        "body": found.body,
    }  # fmt: skip


def _show(found: Fitted, model: str, ends: Retirement | None) -> None:
    from promptguard.terminal.verdict import console, quoted

    out = console(unbroken=True)
    words = {
        None: "takes this request as it is, as far as the rules know",
        "lossless": "takes this request with other words; the question stays the same",
        "lossy": "takes this request only as another question: answers are not comparable",
        "blocking": "cannot be asked this",
    }
    out.print(quoted(f"{model} {words[found.severity]}"))
    for each in found.applied:
        code = " ".join(str(part) for part in (each.rule.error.status, each.rule.error.code) if part)
        out.print(quoted(f"  {each.rule.severity}: {each.sentence()} (else {code})", most=None))
        out.print(
            quoted(
                f"      {each.rule.id}, checked {each.rule.checked}: {', '.join(each.rule.sources)}",
                most=None,
            )
        )
    for note in found.notes:
        out.print(quoted(f"  note: {note.why} ({', '.join(note.sources)})", most=None))
    if ends is not None:
        after = f"; its successor is {ends.successor}" if ends.successor else ""
        out.print(quoted(f"  {model} ends on {ends.ends}{after} ({', '.join(ends.sources)})", most=None))
