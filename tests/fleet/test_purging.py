"""A subject is purged from a database as from a file: no byte of it is left in the server's tables."""

from __future__ import annotations

import pytest

import promptguard
from promptguard.ledger.spool import Numbered, Spool, forget_subject
from promptguard.ledger.store import Ledger
from promptguard.testing import FakeProvider
from tests.fleet.pairs import pair
from tests.purging.test_purging import CANARY, answer, talk

pytestmark = [pytest.mark.sdk, pytest.mark.once]


def files_with(server, what):
    """Return the files of tables that hold these bytes; the server's own log of changes is its archive's business."""
    server.run("CHECKPOINT")
    return [
        path.name
        for path in (server.place / "data" / "base").rglob("*")
        if path.is_file() and what.encode() in path.read_bytes()
    ]


def test_no_byte_is_left_in_the_tables(server, database, monkeypatch, tmp_path):
    monkeypatch.setenv("PROMPTGUARD_SECRET", "s" * 64)
    monkeypatch.setenv("PROMPTGUARD_LOCAL", str(tmp_path / "local"))
    with FakeProvider({"m": answer, "n": answer}) as provider:
        talk(provider, database).close()
    assert files_with(server, CANARY), "what is to be purged must have been kept"
    told = promptguard.purge(database, subject=CANARY)
    assert (told.pairs, told.texts, told.stored, told.cached) == (4, 4, 4, 4)
    assert told.expunged
    assert files_with(server, CANARY) == []
    assert sorted({row.outcome for row in Ledger(database).pairs_after(0)}) == ["compared", "purged"]


def test_pairs_that_wait_on_this_machine_are_left_out(tmp_path):
    left = Spool(tmp_path, "gone")
    left.put([Numbered(1, pair(1)), Numbered(2, pair(2, subject="d" * 32)), Numbered(3, pair(3))])
    assert forget_subject(tmp_path, "d" * 32) == (0, False), "a process that lives delivers what it has"
    left.close()
    assert forget_subject(tmp_path, "d" * 32) == (1, True)
    assert forget_subject(tmp_path, "d" * 32) == (0, True)
    again = Spool(tmp_path, "gone")
    assert again.open(make=False)
    assert [each.number for each in again.next(9)[0]] == [1, 3]
    again.close()
