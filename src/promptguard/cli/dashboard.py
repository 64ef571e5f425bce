"""`promptguard dashboard`: the local page."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from promptguard.cli.place import OPTION, ledger_or_setting

SHORT = "show a ledger as a local page"
EXAMPLES = (
    "promptguard dashboard --open                          of the ledger of the settings, in the browser",
    "promptguard dashboard --ledger .promptguard --port 0  on any port that is free",
)
TOKEN_VARIABLE = "PROMPTGUARD_DASHBOARD_TOKEN"  # noqa: S105 - a variable's name
TRACE_VARIABLE = "PROMPTGUARD_DASHBOARD_TRACE_URL"


def run(
    ledger: Annotated[str | None, OPTION] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="port to listen on; 0 for any that is free")
    ] = 7787,
    host: Annotated[
        str, typer.Option(help="address to listen on; beyond loopback a token is asked for")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            envvar=TOKEN_VARIABLE, show_envvar=True, help="ask for this token; beyond loopback one is made up"
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="another name under which this machine is reached; may be repeated"),
    ] = None,
    trace_url: Annotated[
        str,
        typer.Option(
            help="where traces are shown, such as http://127.0.0.1:16686/trace/{trace_id}",
            envvar=TRACE_VARIABLE,
            show_envvar=True,
        ),
    ] = "",
    prompts: Annotated[
        str,
        typer.Option(
            help="the folder of prompts, or another place of them such as ledger:DIR",
            show_default="prompts, where there is one",
        ),
    ] = "",
    browser: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
) -> None:
    """Show a ledger as a local page: what changed, since when, example pairs, what to do. It changes nothing.

    Exit codes: 0 ended by Ctrl-C, 2 wrong use, port taken, or no ledger that can be read.
    """
    from promptguard.dashboard import serving
    from promptguard.report.overview import read_overview

    serving.check_installed()
    traces = serving.checked_trace_url(trace_url)
    place = ledger_or_setting(ledger)
    read_overview(place)  # what is wrong with it is told now, in one line
    folder = _folder(prompts)
    from promptguard.dashboard.access import is_loopback

    secret = token or ("" if is_loopback(host) else serving.new_token())
    os.environ.pop(TOKEN_VARIABLE, None)
    with serving.bound(host, port) as listening:
        address = serving.address_of(listening, host, secret)
        sys.stdout.write(f"PromptGuard dashboard of {place}: {address}  (Ctrl-C ends it)\n")
        if not is_loopback(host):
            sys.stdout.write("reachable from other machines, without TLS: put a proxy with TLS before it\n")
        sys.stdout.flush()
        server = serving.server_of(
            place,
            host=host,
            token=secret,
            names=allow_host or (),
            trace_url=traces,
            prompts=folder,
            when_ready=(lambda: _open(address)) if browser else None,
        )
        server.run(sockets=[listening])


def _folder(given: str) -> str:
    """Return the folder of prompts. Raises ConfigurationError for one that is named and cannot be opened."""
    from promptguard.sources.library import open_as_set

    if given:
        open_as_set(given)
        return given
    return _USUAL if Path(_USUAL).is_dir() else ""


_USUAL = "prompts"


def _open(address: str) -> None:
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
