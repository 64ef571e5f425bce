"""`promptguard canary record|check|list|remove`: questions that are asked again and again."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptguard.cli import exits
from promptguard.cli.place import OPTION, ledger_or_setting

if TYPE_CHECKING:
    from promptguard.ledger.canaries import Pin

SHORT = "pin questions that a watch asks again and again"

app = typer.Typer(
    help="Pin questions that a watch asks again and again, so that a change is seen without an application's calls.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_JSON = typer.Option("--json", help="print JSON")
_CLIENT = typer.Option(metavar="MODULE:FUNCTION", help="returns the SDK client to ask with")
_PROVIDER = typer.Option(help="ask with this provider's own SDK: openai, anthropic, groq or together")
_URL = typer.Option(help="its address, where it is not the provider's own")
_KEY_ENV = typer.Option(metavar="NAME", help="the variable that holds the key")
_KEY_FILE = typer.Option(metavar="FILE", help="the file that holds the key")
CHECK_SECONDS = 600.0


@app.command()
def record(
    prompt: Annotated[
        str,
        typer.Argument(
            metavar="VERSION",
            help="a version such as triage@4; with --stored any group",
        ),
    ],
    model: Annotated[str, typer.Option(help="the model that is asked")] = "",
    prompts: Annotated[str, typer.Option(help="folder of prompts, or another place of them")] = "prompts",
    stored: Annotated[
        int,
        typer.Option(min=0, max=1000, help="pin so many questions stored for replay, and no cases"),
    ] = 0,
    every: Annotated[str, typer.Option(help="time between two rounds")] = "6h",
    answers: Annotated[
        int, typer.Option(min=1, max=16, help="answers that a round compares, and stores anew")
    ] = 3,
    after: Annotated[
        str, typer.Option(help="how long an answer is stored at least before it is compared")
    ] = "1d",
    ledger: Annotated[str | None, OPTION] = None,
    client: Annotated[str | None, _CLIENT] = None,
    provider: Annotated[str | None, _PROVIDER] = None,
    base_url: Annotated[str | None, _URL] = None,
    key_env: Annotated[str | None, _KEY_ENV] = None,
    key_file: Annotated[str | None, _KEY_FILE] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Pin the cases of a prompt's file for a model, or stored questions. Nothing is asked yet: the watch asks.

    Questions are kept in the ledger as they are. Recorded again they take the new schedule and keep their answers. Exit
    codes: 0 pinned, 2 wrong use.
    """
    from promptguard.core.options import seconds
    from promptguard.errors import ConfigurationError
    from promptguard.ledger.canaries import pin
    from promptguard.watch.pinning import pin_of

    place = ledger_or_setting(ledger)
    schedule: dict[str, Any] = {
        "every": seconds(every, "--every"), "answers": answers, "after": seconds(after, "--after"),
    }  # fmt: skip
    if schedule["every"] < 60:
        raise ConfigurationError(f"--every {every}: give a minute at least")
    asked = (client, provider, base_url, key_env, key_file)
    found = _stored(place, prompt, stored) if stored else _cases(prompt, model, prompts, asked)
    new = [pin_of(group, name, question, **schedule) for group, name, question in found]
    if not new:
        raise ConfigurationError(
            f"{prompt} has no {'stored questions' if stored else 'cases in its file'}: there is nothing to pin"
        )
    added = pin(_opened(place), new)
    told = {"pinned": len(new), "new": added, "ids": [each.id for each in new], "calls_per_day": _calls(new)}
    _say(told, as_json, f"{len(new)} pinned, {added} of them new: about {_calls(new):,} calls a day")


@app.command("list")
def list_(ledger: Annotated[str | None, OPTION] = None, as_json: Annotated[bool, _JSON] = False) -> None:
    """List what is pinned, with the answers that wait and the verdict of each group. Exit codes: 0 told, 2 wrong use."""
    rows = _rows(ledger_or_setting(ledger))
    if as_json:
        _say({"canaries": rows}, True, "")
        return
    from promptguard.terminal.verdict import console, quoted, table

    names = ("id", "group", "model", "stored", "rounds", "last", "verdict")
    told = table(*names)
    for row in rows:
        told.add_row(*(quoted(str(row[name] or "-")) for name in names))
    console().print(told if rows else "nothing is pinned: promptguard canary record")


@app.command()
def check(
    ledger: Annotated[str | None, OPTION] = None,
    client: Annotated[str | None, _CLIENT] = None,
    provider: Annotated[str | None, _PROVIDER] = None,
    base_url: Annotated[str | None, _URL] = None,
    key_env: Annotated[str | None, _KEY_ENV] = None,
    key_file: Annotated[str | None, _KEY_FILE] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Ask a round of every canary now, whenever its last one was, and tell the verdicts. No watch is needed.

    Answers that are not old enough are not compared yet. Exit codes: 0 no drift, 1 drift, 2 wrong use, 3 nothing compared.
    """
    from promptguard.cli.watch import client_of
    from promptguard.errors import ConfigurationError
    from promptguard.watch.working import Watching

    place = ledger_or_setting(ledger)
    if not _rows(place):
        raise ConfigurationError("nothing is pinned: promptguard canary record")
    asked = client_of(client, provider, base_url, key_env, key_file)
    if asked is None:
        raise ConfigurationError(
            "give --provider, or --client module:function: canaries are asked of somebody"
        )
    watching = Watching(place, asked)
    try:
        began = watching.ask_canaries(due=False)
        if not watching.background.flush(CHECK_SECONDS):
            raise ConfigurationError(
                f"not all answers came within {CHECK_SECONDS:.0f} s; what came is in the ledger"
            )
    finally:
        watching.stop()
    rows = _rows(place)
    verdicts = {row["verdict"] for row in rows}
    found = "drift" if "drift" in verdicts else "no_drift" if "no_drift" in verdicts else "unmeasured"
    _say(
        {"asked": began, "verdict": found, "canaries": rows},
        as_json,
        f"{began} asked: {found.replace('_', ' ')}",
    )
    raise typer.Exit({"drift": 1, "no_drift": 0}.get(found, exits.UNMEASURED))


@app.command()
def remove(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="as `promptguard canary list` names them")
    ],
    ledger: Annotated[str | None, OPTION] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Ask these no more, and forget their stored answers. Exit codes: 0 removed, 2 wrong use, or none has such an id."""
    from promptguard.errors import ConfigurationError
    from promptguard.ledger.canaries import unpin

    gone = unpin(_opened(ledger_or_setting(ledger)), ids)
    if not gone:
        raise ConfigurationError(f"no canary is called {', '.join(ids)}: see promptguard canary list")
    _say({"removed": gone}, as_json, f"{gone} removed")


def _opened(place: str) -> Any:
    from promptguard.directories import ledger_place
    from promptguard.ledger.store import Ledger

    return Ledger(ledger_place(place))


def _stored(place: str, group: str, most: int) -> list[tuple[str, str, Any]]:
    from promptguard.watch.pinning import from_stored

    return [(group, model, question) for model, question in from_stored(place, group, most)]


def _cases(
    version: str, model: str, folder: str, asked: tuple[str | None, ...]
) -> list[tuple[str, str, Any]]:
    from promptguard.cli.watch import client_of
    from promptguard.errors import ConfigurationError
    from promptguard.sources.library import open_as_set
    from promptguard.watch.asking import server_asked
    from promptguard.watch.pinning import from_cases

    if not model:
        raise ConfigurationError("--model is missing: name the model that is asked")
    prompt = open_as_set(folder).get(version)
    client = client_of(*asked)
    if client is None:
        raise ConfigurationError("give --provider, or --client module:function: whose server is asked")
    server, _ = server_asked(client)
    return [(f"{prompt.name}@{prompt.version}", model, each) for each in from_cases(prompt, model, server)]


def _rows(place: str) -> list[dict[str, Any]]:
    from promptguard.ledger.canaries import STREAM, pins, stored
    from promptguard.ledger.reading import reading
    from promptguard.report.overview import read_overview

    with reading(place) as connection:
        known, waiting = pins(connection), stored(connection)
    told = {row.group: row for row in read_overview(place).rows if row.stream == STREAM} if known else {}
    return [
        {
            "id": each.id,
            "group": each.group,
            "model": each.model,
            "server": each.question["origin"],
            "every": each.every,
            "answers": each.answers,
            "stored": waiting.get(each.source, 0),
            "rounds": each.rounds,
            "last": _moment(each.asked_at),
            "verdict": told[each.group].status if each.group in told else "unmeasured",
            "reason": told[each.group].reason if each.group in told else "nothing compared yet",
        }
        for each in known
    ]


def _moment(at: float) -> str | None:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) if at else None


def _calls(new: Sequence[Pin]) -> int:
    return round(sum(2 * each.answers * 86_400 / each.every for each in new))


def _say(told: dict[str, Any], as_json: bool, text: str) -> None:
    sys.stdout.write((json.dumps(told, indent=2) if as_json else text) + "\n")
