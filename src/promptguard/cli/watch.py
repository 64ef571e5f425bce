"""`promptguard watch`: judge a ledger, and ask what is to be asked, without an application."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from promptguard.cli.place import OPTION, ledger_or_setting

if TYPE_CHECKING:
    from promptguard.watch.duty import State

SHORT = "judge a ledger, ask its stored questions and canaries, send its alerts"
EXAMPLES = (
    "promptguard watch --ledger .promptguard                                   judge, alert and tidy up; nothing is asked",
    "promptguard watch --provider openai --key-file /run/secrets/openai        also ask again what is stored, and canaries",
    "promptguard watch --client service:make_client --port 9464                with a client of your own",
)

log = logging.getLogger("promptguard")


def run(
    ledger: Annotated[str | None, OPTION] = None,
    client: Annotated[
        str | None, typer.Option(metavar="MODULE:FUNCTION", help="returns the SDK client to ask with")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="ask with this provider's own SDK: openai, anthropic, groq or together")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="its address, where it is not the provider's own")
    ] = None,
    key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="the variable that holds the key")
    ] = None,
    key_file: Annotated[str | None, typer.Option(metavar="FILE", help="the file that holds the key")] = None,
    host: Annotated[str, typer.Option(help="address of /livez, /readyz and /metrics")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="their port; 0 for any that is free")] = 9464,
    as_json: Annotated[
        bool, typer.Option("--json", help="tell start and changes as JSON, one object a line")
    ] = False,
) -> None:
    """Judge a ledger's pairs, ask its stored questions and canaries again, send alerts and forget what is old.

    One watch a ledger is active; further ones stand by, and one of them takes over within 20 s of a crash. Wrapped
    processes leave judging to it (`Drift(evaluate="auto")`). Ends in order on SIGTERM and Ctrl-C.

    Exit codes: 0 ended when told to, 2 wrong use, no ledger, or port taken.
    """
    from promptguard.ledger.reading import reading
    from promptguard.watch import asking
    from promptguard.watch.health import Health

    place = ledger_or_setting(ledger)
    with reading(place, any_version=True):
        pass  # what is wrong with it is told now, in one line
    asked = client_of(client, provider, base_url, key_env, key_file)
    whom = "nobody" if asked is None else asking.server_asked(asked)[0].origin
    health = Health(host, port)
    _serve(place, asked, whom, health, as_json=as_json)


def client_of(
    client: str | None, provider: str | None, base_url: str | None, key_env: str | None, key_file: str | None
) -> object | None:
    """Return the client that options name, None where they name none. Raises ConfigurationError."""
    from promptguard.errors import ConfigurationError
    from promptguard.watch.asking import from_factory, from_settings

    if client and provider:
        raise ConfigurationError("--client and --provider both say who asks: give one of them")
    if client:
        return from_factory(client)
    if provider:
        return from_settings(provider, base_url, key_env, key_file)
    lone = next((f"--{name}" for name, given in (("base-url", base_url), ("key-env", key_env), ("key-file", key_file))
                 if given), None)  # fmt: skip
    if lone:
        raise ConfigurationError(f"{lone} is of a --provider: name it, such as --provider openai")
    return None


def _serve(place: str, asked: object | None, whom: str, health: object, *, as_json: bool) -> None:
    from promptguard.directories import ledger_place
    from promptguard.ledger.store import Ledger
    from promptguard.watch.duty import Duty
    from promptguard.watch.health import Health
    from promptguard.watch.working import Watching

    assert isinstance(health, Health)  # noqa: S101 - narrows a type that is imported late
    working: list[Watching] = []

    def begin() -> Watching:
        working[:] = [Watching(place, asked)]
        return working[0]

    def tell(state: State) -> None:
        if state != "active":
            working.clear()
        _say({"state": state}, as_json, f"watch: {state}")

    duty = Duty(Ledger(ledger_place(place)), begin, tell)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: duty.end())
    started = {"watch": str(place), "asks": whom, "health": health.address, "pid": os.getpid()}
    _say(
        started,
        as_json,
        f"PromptGuard watches {place}, asks {whom}; {health.address}/readyz  (Ctrl-C ends it)",
    )
    health.start(duty, lambda: working[0].background.state_source if working else None)
    try:
        duty.run()
    finally:
        health.close()


def _say(told: dict[str, object], as_json: bool, text: str) -> None:
    sys.stdout.write((json.dumps(told) if as_json else text) + "\n")
    sys.stdout.flush()
