"""Pairs of many processes are judged in one order, also those that are committed late."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from sqlalchemy import insert

from promptguard.ledger import schema
from promptguard.ledger.folds import Folds
from promptguard.ledger.store import Ledger
from tests.fleet.pairs import GROUPS, judged, pair
from tests.fleet.waiting import until

WRITER = """
import sys, threading
from promptguard.ledger.store import Ledger
from promptguard.ledger.writer import Writer
from tests.fleet.pairs import GROUPS, pair
address, process, threads, pairs = sys.argv[1], *map(int, sys.argv[2:])
writer = Writer(Ledger(address), lambda: None, lambda where, error: print(where, repr(error), file=sys.stderr))
def put(thread):
    for number in range(pairs):
        call = (process * threads + thread) * pairs + number
        writer.put_pair(pair(call, group=GROUPS[call % len(GROUPS)]))
running = [threading.Thread(target=put, args=(each,)) for each in range(threads)]
for each in running: each.start()
for each in running: each.join()
assert writer.flush(90)
assert not writer.dropped
"""


def calls_of(folds):
    """Read as the evaluator does, until nothing is held back."""
    found, last = [], 0

    def done():
        nonlocal last
        while rows := folds.rows_after(last, 97):
            found.extend(row.call for row in rows)
            last = rows[-1].id
        return not folds.is_held_back and last >= folds.progress()[0]

    until(done)
    return found


def late(ledger, call):
    """Begin a transaction that has written a pair, and wait with its commit; returns what ends it."""
    written, end = threading.Event(), threading.Event()

    def run():
        with ledger.transaction() as connection:
            row = {name: value for name, value in pair(call).items() if name != "content"}
            connection.execute(
                insert(schema.pair).values(**row, rules="", trace="", control_served="", candidate_served="")
            )
            written.set()
            end.wait(60)

    thread = threading.Thread(target=run)
    thread.start()
    assert written.wait(30)

    def finish():
        end.set()
        thread.join(30)

    return finish


@pytest.fixture
def ledger(database):
    found = Ledger(database)
    found.open()
    return found


def test_a_pair_that_is_committed_late_is_not_passed_over(ledger, database):
    folds = Folds(Ledger(database))
    ledger.write_pairs([pair(1)])
    finish = late(ledger, 2)
    ledger.write_pairs([pair(3)])
    assert [row.call for row in folds.rows_after(0)] == [], (
        "nothing is sure while it is not known which comes first"
    )
    assert folds.is_held_back
    assert folds.progress()[0] == 3
    finish()
    assert calls_of(folds) == [1, 2, 3]


def test_what_was_settled_before_is_not_held_up(ledger, database):
    folds = Folds(Ledger(database))
    ledger.write_pairs([pair(1)])
    assert [row.call for row in folds.rows_after(0)] == [1]
    finish = late(ledger, 2)
    ledger.write_pairs([pair(3)])
    assert [row.call for row in folds.rows_after(0)] == [1]
    finish()
    assert calls_of(folds) == [1, 2, 3]


def test_one_that_gives_up_holds_nobody_up(ledger, database, server):
    folds = Folds(Ledger(database))
    finish = late(ledger, 2)
    ledger.write_pairs([pair(3)])
    assert not folds.rows_after(0)
    server.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND usename = 'app'"
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threading, "excepthook", lambda _told: None)
        finish()
    assert calls_of(folds) == [3]


def test_long_transactions_elsewhere_in_the_cluster_hold_nobody_up(ledger, database, server):
    import psycopg

    with psycopg.connect(server.url("postgres", user="postgres")) as other:
        other.execute("CREATE TABLE elsewhere (id int)")
        ledger.write_pairs([pair(1)])
        assert [row.call for row in Folds(ledger).rows_after(0)] == [1]
        other.rollback()


def test_processes_and_threads_lose_nothing_and_double_nothing(database, server):
    processes, threads, pairs = 4, 4, 150
    Ledger(database).open()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, database, str(number), str(threads), str(pairs)],
            stderr=subprocess.PIPE,
        )
        for number in range(processes)
    ]
    folds, stop = Folds(Ledger(database)), threading.Event()
    held = []

    def hold():
        number = 10**6
        while not stop.is_set():
            number += 1
            finish = late(Ledger(database), number)
            held.append(number)
            stop.wait(0.3)
            finish()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        found, last = [], 0
        while any(each.poll() is None for each in running):
            for row in folds.rows_after(last, 50):
                found.append(row.call)
                last = row.id
    finally:
        stop.set()
        holder.join(60)
    assert [each.communicate()[1] for each in running] == [b""] * processes
    assert [each.returncode for each in running] == [0] * processes
    found += [call for call in calls_of(Folds(Ledger(database))) if call not in set(found)]
    everything = sorted([*range(processes * threads * pairs), *held])
    assert sorted(found) == everything
    assert calls_of(Folds(Ledger(database))) == found, "whoever takes over sees the same order"
    Folds(Ledger(database)).take_sums()
    sums = server.run(
        "SELECT sum(pairs) FROM promptguard.tally", database=database.rpartition("/")[2] and name(database)
    )
    assert sums == [(processes * threads * pairs,)]


def name(database):
    from promptguard.directories import check_ledger

    return check_ledger(database).name


def test_an_evaluator_that_is_killed_is_followed_by_one_with_the_same_verdict(database, tmp_path):
    from tests.fleet.pairs import story

    rows = story(400)
    Ledger(tmp_path / "whole").write_pairs(rows)
    expected = judged(tmp_path / "whole")
    program = (
        "import sys\nfrom promptguard.background import evaluating\nevaluating.LEASE_SECONDS = 1.0\n"
        "evaluating.SNAPSHOT_PAIRS = 20\nevaluating.SNAPSHOT_SECONDS = 0.0\n"
        "from tests.fleet.pairs import background\nfound = background(sys.argv[1])\n"
        "print(found.evaluator.flush(60), flush=True)\nsys.stdin.read()\n"
    )
    ledger = Ledger(database)
    for start in range(0, 400, 100):
        ledger.write_pairs(rows[start : start + 100])
        process = subprocess.Popen(
            [sys.executable, "-c", program, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == b"True\n"
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("promptguard.background.evaluating.LEASE_SECONDS", 1.0)
        assert judged(database) == expected
    assert GROUPS[0] in {place[2] for place in expected}
