"""A ledger in a database: made, written, judged and read like the one in a directory."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select

from promptguard.directories import check_ledger
from promptguard.errors import NoLedger
from promptguard.ledger import migrations, schema
from promptguard.ledger.reading import reading
from promptguard.ledger.store import Ledger
from promptguard.report.overview import read_overview
from promptguard.report.read import read_report
from tests.fleet.pairs import judged, pair, story
from tests.fleet.servers import sessions_of


def both(database, tmp_path):
    rows = story(600)
    found = []
    for where in (database, tmp_path / "ledger"):
        for start in range(0, len(rows), 100):
            Ledger(where).write_pairs(rows[start : start + 100])
        found.append(where)
    return found


def test_the_same_pairs_give_the_same_verdicts_to_the_bit(database, tmp_path):
    here, there = (judged(where) for where in both(database, tmp_path))
    assert {place[2] for place in here} >= {"", "group 0@1"}
    assert here == there


def test_readers_say_the_same_of_both(database, tmp_path):
    places = both(database, tmp_path)
    for where in places:
        judged(where)
    one, other = (read_report(where, now=1e9 + 1e3) for where in places)
    assert one.status == other.status
    assert [stream.pairs for stream in one.streams] == [stream.pairs for stream in other.streams]
    one, other = (read_overview(where, now=1e9 + 1e3) for where in places)
    told = [[(row.group, row.status, row.pairs) for row in each.rows] for each in (one, other)]
    assert told[0] == told[1]
    assert len(told[0]) >= 4


def test_several_make_one_ledger_at_once(database, server):
    ledgers, identities = [Ledger(database) for _ in range(6)], []

    def opened(ledger):
        ledger.open()
        identities.append(ledger.identity)

    threads = [threading.Thread(target=opened, args=(each,)) for each in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(identities) == 6
    assert len(set(identities)) == 1
    assert ledgers[0].seed == ledgers[5].seed


def test_two_migrate_at_once_and_one_that_is_cut_off_leaves_the_old(database, monkeypatch):
    Ledger(database).write_pairs([pair(1)])
    ran = []

    def step(connection):
        ran.append(1)
        connection.exec_driver_sql("ALTER TABLE lease ADD COLUMN more VARCHAR")
        if len(ran) == 1:
            raise RuntimeError("cut off")

    monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    monkeypatch.setitem(migrations.MIGRATIONS, schema.SCHEMA_VERSION - 1, step)
    first = Ledger(database)
    with pytest.raises(Exception, match="RuntimeError"):
        first.open()
    with first.engine.begin(writes=False) as connection:
        assert ("more", False) not in migrations.words(connection).columns(connection)["lease"]
    threads = [threading.Thread(target=Ledger(database).open) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert ran == [1, 1], "cut off once, then made once"
    assert len(Ledger(database).pairs_after(0)) == 1


def test_a_reader_makes_nothing(database, server):
    with pytest.raises(NoLedger, match="no ledger here"), reading(database):
        pass
    names = server.run("SELECT nspname FROM pg_namespace", database=name_of(database))
    assert ("promptguard",) not in names


def name_of(database):
    return check_ledger(database).name


def test_a_schema_of_its_own_beside_other_tables(database, server):
    server.run("CREATE TABLE pair (id int)", database=name_of(database))
    Ledger(database).write_pairs([pair(1)])
    Ledger(f"{database}&schema=other").write_pairs([pair(1), pair(2)])
    assert len(Ledger(database).pairs_after(0)) == 1
    assert len(Ledger(f"{database}&schema=other").pairs_after(0)) == 2


def test_leases_live_by_the_clock_of_the_database(database):
    ledger = Ledger(database)
    assert ledger.take_lease("evaluator", "one", 0.0, 60.0)
    assert not ledger.take_lease("evaluator", "other", 1e12, 60.0), "a machine whose clock is far ahead"
    assert ledger.take_lease("evaluator", "one", -1e12, 60.0)


def test_an_idle_process_holds_no_connection(database, server):
    from tests.fleet.waiting import until

    Ledger(database).write_pairs([pair(1)])
    with reading(database) as connection:
        assert connection.execute(select(schema.pair.c.call)).scalar_one() == 1
    here = sessions_of(name_of(database))
    until(lambda: server.run(here)[0][0] == 0, 10)


def test_each_stored_question_is_taken_once(database):
    ledger = Ledger(database)
    row = {
        "stream": "replay", "model": "m", "group": "g", "clusters": "", "at": 1.0, "due": 0.0, "call": 1, "source": "s",
        "question": b"q", "answer": b"a",
    }  # fmt: skip
    from promptguard.core.ladder import Rung

    for number in range(60):
        ledger.bank({**row, "call": number}, [Rung(1.0, 1.0, 1000)], 0.0, 1000, 0.0)
    taken = []
    threads = [
        threading.Thread(target=lambda: taken.extend(Ledger(database).due(1e9, ["s"], 20))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    taken += ledger.due(1e9, ["s"], 1000)
    assert sorted(each.call for each in taken) == list(range(60))


def test_a_question_has_its_pair_once_whoever_asks(database):
    ledgers, taken = [Ledger(database) for _ in range(4)], []

    def claim(ledger):
        for number in range(30):
            if ledger.claim("candidate", 1, [f"one {number}", f"other {number}"]):
                taken.append(number)

    threads = [threading.Thread(target=claim, args=(each,)) for each in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(taken) == list(range(30))
    assert not ledgers[0].claim("candidate", 1, ["new", "one 3"])
    assert ledgers[0].claim("candidate", 1, ["new"]), "what was not taken whole is not taken at all"


def test_a_cap_holds_whoever_spends(database):
    ledgers, taken = [Ledger(database) for _ in range(4)], []

    def spend(ledger):
        for _ in range(30):
            if ledger.reserve("2026-01-01", "shadow", 0.1, 5.0, None):
                taken.append(0.1)

    threads = [threading.Thread(target=spend, args=(each,)) for each in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(taken) == 50
    assert ledgers[0].calls_reserved("2026-01-01", "shadow") == 50
    assert not ledgers[0].reserve("2026-01-01", "shadow", 0.1, None, 50)


def test_an_outcome_and_a_version_are_kept_once(database):
    from promptguard.ledger.prompts import StoredPrompts, StoredVersion
    from promptguard.ledger.rollouts import Rollouts

    row = {"rollout": 1, "unit": b"u", "step": 1, "treated": 0, "at": 1.0}
    assert Rollouts(Ledger(database)).put([row, row, {**row, "unit": b"v"}]) == 2
    prompts, version = StoredPrompts(Ledger(database)), StoredVersion("d", b"text")
    assert prompts.put({("a", "1"): version}, at=1.0, by="me") == {}
    assert prompts.put({("a", "1"): version}, at=2.0, by="me") == {}
    assert prompts.put({("a", "1"): StoredVersion("e", b"other")}, at=2.0, by="me") == {("a", "1"): version}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(database):
    import os

    ledger = Ledger(database)
    ledger.write_pairs([pair(1)])
    for number in (2, 3):
        child = os.fork()
        if not child:
            done = 1
            try:
                Ledger(database).write_pairs([pair(10 * number)])
                ledger.write_pairs([pair(10 * number + 1)])
                done = 0
            finally:
                os._exit(done)
        ledger.write_pairs([pair(number)])
        assert os.waitpid(child, 0)[1] == 0
    assert sorted(row.call for row in ledger.pairs_after(0)) == [1, 2, 3, 20, 21, 30, 31]
