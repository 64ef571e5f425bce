"""What a rollout costs an application when something of ours is away: nothing."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time

import pytest

import promptguard
from promptguard.background import rolling
from promptguard.core.rollouts import MOST_HELD, MOST_OFFERED, Table
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
    assert promptguard.flush(100.0)
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
    assert promptguard.flush(100.0)
    assert rolling.faults.counts["outcome:RuntimeError"] > before


def test_a_step_that_a_fault_of_ours_hid_is_read_again(place, running, monkeypatch):
    library, _ = running
    table, faults = library._rollouts(), iter([RuntimeError("a fault of ours")])
    apply = table.apply

    def broken_once(rows):
        for fault in faults:
            raise fault
        apply(rows)

    monkeypatch.setattr(table, "apply", broken_once)
    main_ok("rollout", "abort")
    until(lambda: table.rollouts[1].state == "aborted")


def test_outcomes_that_nobody_takes_are_bounded():
    table = Table()
    for number in range(2 * MOST_OFFERED):
        table.offer(number)
    assert (len(table.offered), table.lost) == (MOST_OFFERED, MOST_OFFERED)
    assert table.offered[-1] == (0, 2 * MOST_OFFERED - 1)
    taken = table.take(50)
    table.offer("newest")
    table.give_back(taken)
    assert (len(table.offered), table.lost) == (MOST_OFFERED, MOST_OFFERED + 1)
    assert table.offered[0] == taken[1]


def test_outcomes_that_wait_are_bounded_by_their_bytes():
    table = Table()
    for number in range(40):
        table.offer(number, MOST_HELD // 8)
    assert [number for _, number in table.offered] == [*range(32, 40)]
    assert table.lost == 32
    taken = table.take(4)
    table.offer("newest", MOST_HELD // 2)
    table.give_back(taken)
    assert [number for _, number in table.offered] == [36, 37, 38, 39, "newest"]
    table.offer("too large", MOST_HELD + 1)
    assert not table.offered


def test_an_outcome_that_waits_holds_its_answer_and_no_question(place, running, monkeypatch):
    library, client = running
    noted = []
    monkeypatch.setattr(library._rollouts(), "offer", lambda outcome, size: noted.append((outcome, size)))
    for unit in range(6):
        ask(client, library, str(unit), "x" * 100_000)
    until(lambda: len(noted) == 6)
    for outcome, size in noted:
        assert b"label" in (answer := b"".join(outcome.job.body.chunks)) or b"bug" in answer
        assert len(answer) <= size < 10_000
        assert len(repr(outcome)) < 10_000


def test_lost_outcomes_are_counted(place, running):
    library, _ = running
    before = rolling.faults.counts.get("keeping outcomes:OutcomeLost", 0)
    library._rollouts().lost += 3
    until(lambda: rolling.faults.counts.get("keeping outcomes:OutcomeLost", 0) == before + 3)
