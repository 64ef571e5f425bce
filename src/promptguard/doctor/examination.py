"""Findings of all checks, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from promptguard.directories import ledger_place
from promptguard.doctor import clients, machine, places, records
from promptguard.doctor.findings import Finding, worst
from promptguard.settings import current

Check = Callable[[], Iterable[Finding]]


def examine(ledger: str | Path | None = None, client: object = None) -> list[Finding]:
    """Return what all checks find.

    Parameters: `ledger` is a directory, None for the one that wrap() would use; `client` is a wrapped client to look at.
    """
    findings = _run("settings", machine.settings)
    if ledger is None:
        ledger = current().ledger if worst(findings) != "broken" else ".promptguard"
    directory = ledger_place(ledger)
    checks: list[tuple[str, Check]] = [
        ("environment", machine.environment),
        ("packages", machine.packages),
        ("sqlite", machine.sqlite),
        ("proxies", machine.proxies),
        ("instrumentation", machine.instrumentation),
        ("opentelemetry", machine.opentelemetry),
        ("places", lambda: places.places(directory)),
        ("ledger", lambda: records.ledger(directory)),
        ("clock", lambda: records.clock(directory)),
        ("prices", lambda: records.prices(directory)),
        ("coverage", lambda: records.coverage(directory)),
    ]
    if client is not None:
        checks.append(("client", lambda: clients.client(client)))
    for name, check in checks:
        findings += _run(name, check)
    return findings


def _run(name: str, check: Check) -> list[Finding]:
    """Run one check; one that fails is a finding, and ends no other."""
    try:
        return list(check())
    except Exception as error:  # noqa: BLE001 - a diagnosis goes on
        return [Finding(name, "broken", f"this check failed: {type(error).__name__}: {error}")]
