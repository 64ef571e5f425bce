"""What a rollout costs an application when something of ours is away: nothing."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time

import pytest

import promptguard
from promptguard.background import rolling
from tests.cache.replies import until
from tests.rollout.conftest import GUARD, ask, main_ok, opened, told, wrapped

pytestmark = pytest.mark.sdk


@pytest.fixture
def running(place, provider):
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100")
    return opened(), wrapped(provider)


def outcomes(capsys):
    return sum(told(capsys, "rollout", "status", "1")[0]["evidence"]["outcomes"].values())


def test_a_ledger_that_somebody_holds_delays_no_call_and_loses_no_outcome(place, running, capsys):
    library, client = running
    with contextlib.closing(sqlite3.connect(place / ".promptguard" / "ledger.sqlite3")) as held:
        held.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        assert {ask(client, library, str(unit)) for unit in range(12)} == {"triage@3", "triage@4"}
        assert time.monotonic() - began < 20.0  # each that waited for it would take five
        assert not promptguard.flush(0.5)
        held.rollback()
    until(lambda: promptguard.flush(5.0) and outcomes(capsys) == 12)


def test_a_ledger_that_is_gone_rolls_nothing_out_and_one_that_is_back_does(place, running):
    library, client = running
    units = [str(unit) for unit in range(12)]
    assert {ask(client, library, unit) for unit in units} == {"triage@3", "triage@4"}
    assert promptguard.flush(10.0)
    shutil.move(place / ".promptguard", place / "elsewhere")
    until(lambda: {ask(client, library, unit) for unit in units} == {"triage@3"})
    assert not (place / ".promptguard").exists()
    shutil.move(place / "elsewhere", place / ".promptguard")
    until(lambda: {ask(client, library, unit) for unit in units} == {"triage@3", "triage@4"})


def test_a_damaged_ledger_is_told_and_every_call_goes_well(place, running, caplog):
    library, client = running
    for each in (place / ".promptguard").glob("ledger.sqlite3*"):
        each.write_bytes(b"no ledger at all" * 100)
    for unit in range(12):
        ask(client, library, str(unit))
    promptguard.flush(2.0)
    assert {ask(client, library, str(unit)) for unit in range(12)} <= {"triage@3", "triage@4"}


def test_a_fault_of_ours_is_counted_and_never_raised(place, running, monkeypatch):
    library, client = running

    def broken(*_):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(rolling.Outcomes, "row", broken)
    before = rolling.faults.counts.get("outcome:RuntimeError", 0)
    for unit in range(12):
        ask(client, library, str(unit))
    assert promptguard.flush(10.0)
    assert rolling.faults.counts["outcome:RuntimeError"] > before


def test_outcomes_that_nobody_takes_are_bounded(place, running, monkeypatch):
    library, _ = running
    table = library._rollouts()
    monkeypatch.setattr(table, "on_offer", lambda: None)
    for each in rolling.rollings.living():
        each.stop()
        each.join(5.0)
    for number in range(2 * table.offered.maxlen):
        table.offer(number)
    assert len(table.offered) == table.offered.maxlen
    assert table.offered[-1] == 2 * table.offered.maxlen - 1
