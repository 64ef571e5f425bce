"""`promptguard alerts`: try the channels, and see which alert went where."""

from __future__ import annotations

import json
import sys
import time
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptguard.cli.exits import WRONG_USE
from promptguard.cli.place import OPTION, ledger_or_setting
from promptguard.core.epochs import shown_group
from promptguard.errors import ConfigurationError

if TYPE_CHECKING:
    from promptguard.alerts.message import Alert
    from promptguard.core.options import Channel
    from promptguard.report.alerts import AlertRow, ChannelRow, Receipt

app = typer.Typer(help="Alerts and the channels that take them.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _alerts() -> None:
    """Alerts and the channels that take them."""


@app.command("test")
def send_test(
    ledger: Annotated[str | None, OPTION] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Send a message that says it is a test through every channel of the settings, now and once.

    Channels are those of PROMPTGUARD_ALERTS, or of `alerts` in [tool.promptguard]. Exit codes: 0 every channel took it, 2
    some did not, or there is none.
    """
    from promptguard.alerts.sending import check_installed
    from promptguard.directories import ledger_place, name_of
    from promptguard.settings import current

    channels = current().alerts
    if not channels:
        raise ConfigurationError(
            'no channels are set: give PROMPTGUARD_ALERTS, such as "slack:https://example.com/...", or alerts = [...] in '
            "[tool.promptguard]"
        )
    check_installed(channels)
    message = _test_message(name_of(ledger_place(ledger_or_setting(ledger))))
    rows = [_tried(channel, message) for channel in channels]
    if as_json:
        _print_json(rows)
    else:
        for row in rows:
            said = "delivered" if row["delivered"] else f"not delivered: {row['error']}"
            sys.stdout.write(f"{row['channel']}: {said}\n")
    if not all(row["delivered"] for row in rows):
        raise typer.Exit(WRONG_USE)


def _test_message(ledger: str) -> Alert:
    from promptguard.alerts.message import Alert, Changed

    now = time.time()
    changed = Changed("test", "candidate", now, 0, 0.0, "Nothing changed: this is a test.")
    return Alert(
        f"pg-test-{uuid.uuid4().hex[:12]}", 1, ledger, "test", now, (changed,), ended_at=now, is_test=True
    )


def _tried(channel: Channel, message: Alert) -> dict[str, Any]:
    from promptguard.alerts.sending import NotDelivered, send

    row: dict[str, Any] = {"channel": channel.label, "kind": channel.KIND, "delivered": True, "error": ""}
    try:
        send(channel, message)
    except NotDelivered as error:
        row.update(delivered=False, error=str(error))
    return row


@app.command("list")
def list_alerts(
    ledger: Annotated[str | None, OPTION] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Tell every alert since a channel was first set, newest first, and what each channel has had of it.

    Exit codes: 0, 2 no ledger.
    """
    from promptguard.report.alerts import read_alerts

    rows, channels = read_alerts(ledger_or_setting(ledger))
    if as_json:
        _print_json(
            {"alerts": [_told(row) for row in rows], "channels": [asdict(channel) for channel in channels]}
        )
        return
    _show(rows, channels)


def _told(row: AlertRow) -> dict[str, Any]:
    alert = row.alert
    return {
        **asdict(alert),
        "status": alert.status,
        "pending": row.pending,
        "receipts": [asdict(each) for each in row.receipts],
    }


def _show(rows: tuple[AlertRow, ...], channels: tuple[ChannelRow, ...]) -> None:
    from promptguard.alerts.message import clock, plain

    for row in rows:
        alert = row.alert
        groups = list(dict.fromkeys(shown_group(each.group) for each in alert.members))
        sys.stdout.write(
            plain(f"{alert.id}  {alert.status}  {clock(alert.opened_at)}  {alert.model}: {', '.join(groups)}")
            + "\n"
        )
        for each in row.receipts:
            sys.stdout.write(f"    {plain(each.channel)}: {_receipt(each)}\n")
        if not row.receipts:
            sys.stdout.write("    no channel was there to tell\n")
    if not rows:
        sys.stdout.write(
            f"no alerts; channels: {', '.join(plain(each.name) for each in channels)}\n"
            if channels
            else "no alerts: no channel was ever set; promptguard status tells alarms without one\n"
        )


def _receipt(each: Receipt) -> str:
    from promptguard.alerts.message import clock, plain

    if not each.pending and each.delivered_at is not None:
        return f"delivered {clock(each.delivered_at)}"
    if not each.attempts:
        return "waits"
    again = "" if each.next_at is None else f", again {clock(each.next_at)}"
    return (
        f"waits after {each.attempts} failed attempt{'s' * (each.attempts > 1)} ({plain(each.error)}){again}"
    )


def _print_json(value: object) -> None:
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")
