"""Findings of all checks, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Level = Literal["ok", "warning", "broken"]
_LEVELS: tuple[Level, ...] = ("ok", "warning", "broken")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: which check, how it stands, and what to do where it does not stand well."""

    check: str
    level: Level
    text: str


Check = Callable[[], Iterable[Finding]]


def worst(findings: Iterable[Finding]) -> Level:
    """Return the level of the worst finding."""
    return max((each.level for each in findings), key=_LEVELS.index, default="ok")


def examine(ledger: str | Path | None = None, client: object = None) -> list[Finding]:
    """Return what all checks find.

    Parameters: `ledger` is a directory, None for the one that wrap() would use; `client` is a wrapped client to look at.
    """
    from promptguard.doctor import clients, machine, places, records
    from promptguard.settings import current

    findings = _run("settings", machine.settings)
    if ledger is None:
        ledger = current().ledger if worst(findings) != "broken" else ".promptguard"
    directory = Path(ledger).expanduser().absolute()
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
