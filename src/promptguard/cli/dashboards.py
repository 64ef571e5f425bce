"""`promptguard dashboards`: what Grafana and Prometheus need, as files."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from promptguard.errors import ConfigurationError

app = typer.Typer(
    help="Dashboards for Grafana, rules for Prometheus.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def _dashboards() -> None:
    """Dashboards for Grafana, rules for Prometheus."""


@app.command()
def export(
    directory: Annotated[str, typer.Argument(help="where to; made if it is not there")],
    runbooks: Annotated[
        str | None, typer.Option(help="where the runbooks are published, as a URL: alerts link to it")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Write Grafana's dashboards (grafana/*.json), rules for Prometheus (prometheus/*.yml) and runbooks.

    Files of these names are replaced. Exit codes: 0 written, 2 they cannot be.
    """
    from promptguard.directories import expanded
    from promptguard.monitoring.export import export as write

    if runbooks is not None and not runbooks.startswith(("http://", "https://")):
        raise ConfigurationError("--runbooks: give a URL, such as https://wiki.example.com/promptguard")
    written = [str(path) for path in write(expanded(directory, "DIRECTORY"), runbooks)]
    if as_json:
        json.dump({"written": written}, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    for path in written:
        sys.stdout.write(f"{path}\n")
