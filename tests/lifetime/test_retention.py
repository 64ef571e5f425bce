"""A ledger forgets what is too old, keeps what verdicts need, and gives the room back."""

from __future__ import annotations

import pytest

from promptguard.drift import Answer, vectorise
from promptguard.ledger.retention import DAY, Retention, forget, shrink
from promptguard.ledger.store import Ledger
from tests.files import asked_of

NOW = 1_000 * DAY


def pair(ledger, number, at, **more):
    vector = vectorise(Answer("yes " * 40), Answer(f"no {number}"), seed=ledger.seed).to_bytes()
    return {
        "stream": "candidate", "epoch": 1, "group": "g@1", "at": at, "call": number, "outcome": "compared", "reason": "",
        "asked": "m", "control_model": "m", "candidate_model": "n", "vector": vector, "usd": 0.5, **more,
    }  # fmt: skip


@pytest.fixture
def ledger(tmp_path):
    """200 pairs, one a day, with their texts."""
    made = Ledger(tmp_path)
    texts = {"question": b"q" * 500, "control": b"a" * 500, "candidate": b"b" * 500}
    made.write_pairs([pair(made, n, NOW - (200 - n) * DAY, content=dict(texts)) for n in range(200)])
    return made


def count(ledger, table):
    return asked_of(ledger.engine.path, f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608


def forget_all(ledger, retention, folded):
    while forget(ledger, retention, NOW, folded=folded):
        pass


def test_old_texts_go_before_old_pairs_and_sums_stay(ledger):
    forget_all(ledger, Retention(), folded=200)
    assert (count(ledger, "pair"), count(ledger, "content")) == (90, 30)
    sums = asked_of(ledger.engine.path, "SELECT pairs, usd FROM tally")
    assert sums == [(200, 100.0)]


@pytest.mark.parametrize(("folded", "left"), [(0, 200), (50, 150), (110, 90), (200, 90)])
def test_a_pair_that_is_in_no_snapshot_is_never_forgotten(ledger, folded, left):
    forget_all(ledger, Retention(content=1000.0), folded)
    assert count(ledger, "pair") == left


def test_claims_and_occurrences_are_bounded_in_number(ledger):
    for number in range(30):
        assert ledger.claim("candidate", 1, [f"cluster {number}"])
        ledger.note(at=NOW, call=number, kind="alarm", stream="candidate", group="g", detail={})
    forget_all(ledger, Retention(claims=10, occurrences=5), folded=0)
    assert (count(ledger, "claim"), count(ledger, "occurrence")) == (10, 5)
    assert not ledger.claim("candidate", 1, ["cluster 29"])  # the newest are kept
    assert [noted["call"] for noted in ledger.occurrences_after(0)] == [25, 26, 27, 28, 29]


def test_who_served_is_forgotten_by_the_hour(ledger):
    for days in (500, 300, 1):
        at = NOW - days * DAY
        ledger.note_sightings({("o", "m", "s", "", "", "", ""): (at, at, 3)})
    forget_all(ledger, Retention(), folded=0)
    assert count(ledger, "sighting") == 2


def test_the_file_shrinks(ledger):
    before = ledger.engine.path.stat().st_size
    forget_all(ledger, Retention(pairs=1.0, content=1.0), folded=200)
    while shrink(ledger):
        pass
    asked_of(ledger.engine.path, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert ledger.engine.path.stat().st_size < before / 2
