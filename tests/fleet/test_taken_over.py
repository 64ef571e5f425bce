"""An alarm is noted with all that follows from it, and who stood still while another took over changes nothing."""

from __future__ import annotations

import contextlib
import time

import pytest
from sqlalchemy import delete

from promptguard.background.acting import Acting
from promptguard.background.engine import Background
from promptguard.core.options import BypassCache, Route
from promptguard.directories import ledger_place
from promptguard.ledger import schema
from promptguard.ledger.folds import Folds
from promptguard.ledger.store import Ledger, holds
from promptguard.ledger.trouble import LedgerUnavailable, Trouble
from promptguard.report.read import read_verdicts
from tests.cache.replies import until
from tests.fleet.pairs import DRIFT, story, told

ROWS = [row for row in story(1000) if row["stream"] == "replay"]
ACTIONS = (Route(to="old", dry_run=False), BypassCache(dry_run=False))


@pytest.fixture(params=["directory", "postgresql"])
def place(request, tmp_path):
    if request.param == "directory":
        return tmp_path / "ledger"
    return request.getfixturevalue("database")


def opened(place):
    return contextlib.closing(
        Background(
            ledger_place(place), DRIFT, ACTIONS, record_content=None, queue=1, threads=1,
            wall=lambda: 1e9 + 1e3,
        )
    )  # fmt: skip


def kinds(place):
    with contextlib.closing(Ledger(place)) as ledger:
        return sorted((noted["group"], noted["kind"]) for noted in ledger.occurrences_after(0))


RINGING = ("", "group 0@1", "group 1@1")
EXPECTED = [(group, kind) for group in RINGING for kind in ("alarm", "bypass", "route")]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_an_alarm_and_what_follows_is_noted_though_the_ledger_was_away_for_a_moment(
    tmp_path, monkeypatch, nth
):
    real, began = Ledger.transaction, []

    def transaction(self, *, alone="", **more):
        began.append(alone)
        if alone == "occurrence" and began.count(alone) == nth:
            raise LedgerUnavailable(Trouble("away", "for a moment"))
        return real(self, alone=alone, **more)

    Ledger(tmp_path).write_pairs(ROWS)
    monkeypatch.setattr(Ledger, "transaction", transaction)
    with opened(tmp_path) as background:
        background.evaluator.flush(10)
        assert background.evaluator.flush(20)
    assert kinds(tmp_path) == EXPECTED


def test_who_ends_while_an_alarm_is_noted_leaves_no_alarm_that_nothing_follows_from(tmp_path):
    class Killed(BaseException):
        pass

    def cut_off():
        yield {"at": 1.0, "call": 1, "kind": "alarm", "stream": "replay", "group": "g", "detail": {}}
        raise Killed

    with pytest.raises(Killed):
        Ledger(tmp_path).note_all(cut_off())
    assert kinds(tmp_path) == []


@pytest.mark.parametrize(("where", "name"), [(Folds, "write"), (Acting, "alarm")])
def test_who_stood_still_while_another_took_over_neither_rings_nor_writes(place, monkeypatch, where, name):
    real, frozen, expected = getattr(where, name), [], []

    def late(self, *arguments, **more):
        """As a process that is stopped here, and goes on when its lease has long run out."""
        if not frozen:
            return real(self, *arguments, **more)
        monkeypatch.setattr(where, name, real)
        frozen.pop().evaluator._renewed -= 60
        with contextlib.closing(Ledger(place)) as ledger:
            with ledger.transaction() as connection:
                connection.execute(delete(schema.lease))
            ledger.write_pairs(ROWS[-40:])
        assert other.enter_context(opened(place)).evaluator.flush(20)
        expected.append((told(place), kinds(place)))
        return real(self, *arguments, **more)

    with contextlib.ExitStack() as other:
        with contextlib.closing(Ledger(place)) as ledger:
            ledger.write_pairs(ROWS[:40])
        with opened(place) as background:
            assert background.evaluator.flush(20)
            monkeypatch.setattr(where, name, late)
            frozen.append(background)
            with contextlib.closing(Ledger(place)) as ledger:
                ledger.write_pairs(ROWS[40:-40])
            assert background.evaluator.flush(20)
            assert expected == [(told(place), kinds(place))]
    assert kinds(place) == EXPECTED


def test_who_ends_before_it_folds_again_goes_on_from_the_snapshot(tmp_path, monkeypatch):
    """Older pairs are forgotten: a fold from the first that is left would write, and save, too little."""
    ledger, real, away = Ledger(tmp_path), Ledger.transaction, []

    def transaction(self, *, alone="", **more):
        if alone == "occurrence" and not away:
            away.append(alone)
            raise LedgerUnavailable(Trouble("away", "for a moment"))
        return real(self, alone=alone, **more)

    ledger.write_pairs(ROWS[:100])
    with opened(tmp_path) as background:
        assert background.evaluator.flush(20)
    with ledger.transaction() as connection:
        for column in (schema.content.c.pair_id, schema.pair.c.id):
            connection.execute(delete(column.table).where(column < 100))
    monkeypatch.setattr(Ledger, "transaction", transaction)
    ledger.write_pairs(ROWS[100:])
    with opened(tmp_path):
        until(lambda: away, 20.0)
    with opened(tmp_path) as background:
        assert background.evaluator.flush(20)
    (whole,) = [each for each in read_verdicts(tmp_path, now=1e9 + 1e3) if each["epoch"] == 1]
    assert whole["pairs"] == sum(row["outcome"] == "compared" for row in ROWS)
    assert kinds(tmp_path) == EXPECTED


def test_a_process_that_is_frozen_amid_a_transaction_does_not_keep_the_lease_from_others(
    database, monkeypatch
):
    monkeypatch.setattr("promptguard.ledger.engines.postgres_words.STILL_MS", 2_000)
    ledger = Ledger(database)
    assert ledger.take_lease("evaluator", "frozen", time.time(), 0.01)

    def stands_still():
        with ledger.transaction() as connection:
            assert holds(connection, "evaluator", "frozen")
            time.sleep(0.02)  # its lease has run out
            assert Ledger(database).take_lease("evaluator", "other", time.time(), 15.0)
            connection.execute(delete(schema.snapshot))

    with pytest.raises(LedgerUnavailable) as told:
        stands_still()
    assert told.value.trouble.kind == "away"
    assert not ledger.take_lease("evaluator", "frozen", time.time(), 15.0)
