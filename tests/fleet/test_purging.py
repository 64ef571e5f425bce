"""A subject is purged from a database as from a file: no byte of it is left in the server's tables."""

from __future__ import annotations

import pytest

import promptguard
from promptguard.errors import InputFileError
from promptguard.ledger.spool import Numbered, Spool, forget_subject
from promptguard.ledger.store import Ledger
from promptguard.testing import FakeProvider
from tests.conftest import close_backgrounds
from tests.fleet.pairs import pair
from tests.purging.test_purging import CANARY, answer, ask, talk, wrapped

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


def test_with_no_secret_or_no_right_nothing_is_claimed(server, database, monkeypatch, tmp_path):
    monkeypatch.setenv("PROMPTGUARD_LOCAL", str(tmp_path / "local"))
    monkeypatch.setenv("PROMPTGUARD_SECRET", "s" * 64)
    with FakeProvider({"m": answer, "n": answer}) as provider:
        talk(provider, database).close()
    monkeypatch.delenv("PROMPTGUARD_SECRET")
    with pytest.raises(InputFileError, match="no secret of its own"):
        promptguard.purge(database, subject=CANARY)
    monkeypatch.setenv("PROMPTGUARD_SECRET", "s" * 64)
    name = database.partition("?")[0].rpartition("/")[2]
    server.run("DROP ROLE IF EXISTS other", "CREATE ROLE other SUPERUSER")
    server.run(
        "ALTER TABLE promptguard.pair OWNER TO other", "GRANT ALL ON promptguard.pair TO app", database=name
    )
    told = promptguard.purge(database, subject=CANARY)
    assert (told.pairs, told.expunged) == (4, False)
    server.run("ALTER TABLE promptguard.pair OWNER TO app", database=name)


def test_a_process_that_does_not_know_the_secret_keeps_nothing_of_subjects(monkeypatch, tmp_path):
    pytest.importorskip("psycopg")
    monkeypatch.setenv("PROMPTGUARD_LOCAL", str(tmp_path / "local"))
    away = "postgresql+psycopg://app:pw@127.0.0.1:9/none"
    with FakeProvider({"m": answer, "n": answer}) as provider:
        client = wrapped(provider, away)
        guard = client._client._transport._promptguard_ports
        ask(client, "of a subject Paris", subject=CANARY)
        assert guard.background.pairing.places.held == 0
        assert guard.cache.stats.stores == guard.cache.stats.misses == 0
        client.close()
    close_backgrounds()
