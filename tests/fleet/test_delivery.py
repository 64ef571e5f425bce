"""Pairs that were taken while the database was away arrive once, also where their process was killed."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from promptguard.ledger import spool as spools
from promptguard.ledger.spool import Numbered, Spool, left_behind, spool_directory
from promptguard.ledger.store import Ledger
from promptguard.ledger.writer import Writer
from tests.fleet.pairs import pair, story
from tests.fleet.waiting import until

CYCLES = 50


def writer(ledger, faults=None):
    return Writer(
        ledger, lambda: None, lambda where, error: faults.append(error) if faults is not None else None
    )


def calls(ledger):
    found, last = [], 0
    while rows := ledger.pairs_after(last):
        found += [row.call for row in rows]
        last = rows[-1].id
    return found


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_LOCAL", str(tmp_path / "local"))


def test_what_is_written_to_a_spool_is_read_from_it(tmp_path):
    rows = [Numbered(number, row) for number, row in enumerate(story(100))]
    rows.append(Numbered(100, pair(1, group="base64:strange", reason="nul \0", vector=None)))
    spool = Spool(tmp_path, "one")
    assert spool.put(rows) == len(rows)
    found, at = [], 0
    while more := spool.next(7)[0]:
        found += more
        at = spool.next(7)[1]
        spool.delivered(at)
    assert found == rows
    assert not spool.is_waiting
    spool.close()
    assert not list(tmp_path.iterdir())


def test_a_line_that_was_cut_off_is_passed_over(tmp_path):
    spool = Spool(tmp_path, "one")
    spool.put([Numbered(1, pair(1)), Numbered(2, pair(2))])
    spool.close()
    path = tmp_path / "one.pairs"
    path.write_bytes(path.read_bytes()[:-20])
    (again,) = left_behind(tmp_path, "other")
    assert [each.number for each in again.next(10)[0]] == [1]
    again.close()


def test_a_spool_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(spools, "MOST_BYTES", 5000)
    spool = Spool(tmp_path, "one")
    taken = spool.put([Numbered(number, pair(number)) for number in range(100)])
    assert 0 < taken < 100
    assert spool.put([Numbered(200, pair(200))]) == 0
    assert (tmp_path / "one.pairs").stat().st_size <= 5000


@pytest.mark.parametrize("engine", ["database", "directory"])
def test_what_is_delivered_twice_counts_once(engine, tmp_path, request):
    ledger = Ledger(request.getfixturevalue("database") if engine == "database" else tmp_path / "ledger")
    rows = [pair(number) for number in range(10)]
    ledger.write_pairs(rows[:5], "one", range(1, 6))
    ledger.write_pairs(rows[:5], "one", range(1, 6))
    ledger.write_pairs(rows[3:8], "one", range(4, 9))
    ledger.write_pairs(rows[:2], "other", range(1, 3))
    ledger.write_pairs(rows[8:], "one", range(9, 11))
    assert calls(ledger) == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 8, 9]


def test_the_database_goes_away_amid_traffic_and_comes_back(server, database):
    ledger, faults = Ledger(database), []
    ledger.write_pairs([pair(0)])
    writing = writer(ledger, faults)
    for number in range(1, 300):
        writing.put_pair(pair(number))
        if number == 100:
            assert writing.flush(30)
            server.stop("immediate")
        if number == 200:
            until(lambda: list(spool_directory(ledger.place).glob("*.pairs")))
    assert not writing.flush(0.5)
    server.start()
    assert writing.flush(60)
    assert calls(ledger) == list(range(300))
    assert not writing.dropped
    writing.close(5)
    assert not list(spool_directory(ledger.place).iterdir())


def test_the_next_process_delivers_what_one_has_left(server, database):
    ledger = Ledger(database)
    ledger.open()
    server.stop("immediate")
    program = (
        "import sys\nfrom promptguard.ledger.store import Ledger\nfrom promptguard.ledger.writer import Writer\n"
        "from tests.fleet.pairs import pair\n"
        "writing = Writer(Ledger(sys.argv[1]), lambda: None, lambda where, error: None)\n"
        "[writing.put_pair(pair(number)) for number in range(50)]\nwriting.flush(3)\n"
        "print('put', flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"put\n"
    other = writer(Ledger(database))
    until(lambda: list(spool_directory(ledger.place).glob("*.pairs")))
    process.kill()
    process.communicate()
    server.start()
    assert until(lambda: other.flush(5))
    third = writer(Ledger(database))
    until(lambda: len(calls(ledger)) == 50 if third.flush(5) else False)
    assert calls(ledger) == list(range(50))
    for each in (other, third):
        each.close(5)


WRITES = """
import sys
from promptguard.ledger.store import Ledger
from promptguard.ledger.writer import Writer
from tests.fleet.pairs import pair
address, first = sys.argv[1], int(sys.argv[2])
writing = Writer(Ledger(address), lambda: None, lambda where, error: None)
while True:
    for _ in range(20):
        writing.put_pair(pair(first))
        first += 1
    if writing.flush(30):
        print(first, flush=True)
"""


def cycles(database, count, seed):
    """Kill a process that writes, again and again; returns what was acknowledged to it, and what it may have put."""
    rng, acknowledged, first = random.Random(seed), set(), 0
    for _ in range(count):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES, database, str(first)], stdout=subprocess.PIPE
        )
        line = process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        told = [line, *process.stdout.readlines()]
        process.wait()
        process.stdout.close()
        upto = max(int(each) for each in told if each.endswith(b"\n"))
        acknowledged |= set(range(first, upto))
        first = upto + 10_000
    return acknowledged


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("count", [CYCLES, 1000])
def test_killed_writers_lose_nothing_that_was_acknowledged(database, count):
    ledger = Ledger(database)
    ledger.open()
    acknowledged = cycles(database, count, seed=count)
    found = calls(ledger)
    assert acknowledged <= set(found)
    assert len(found) == len(set(found))


def test_writers_that_are_killed_lose_nothing_that_was_acknowledged(database):
    ledger = Ledger(database)
    ledger.open()
    acknowledged = cycles(database, 8, seed=1)
    found = calls(ledger)
    assert acknowledged <= set(found)
    assert len(found) == len(set(found))


def test_what_was_written_in_part_as_the_disk_was_full_is_taken_back(tmp_path, monkeypatch):
    spool, write, calls = Spool(tmp_path, "one"), os.write, []

    def fails(handle, data):
        calls.append(len(data))
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "full")
        return write(handle, data[:300] if len(calls) == 1 else data)

    rows = [Numbered(number, pair(number)) for number in range(1, 6)]
    monkeypatch.setattr(spools.os, "write", fails)
    with pytest.raises(OSError, match="full"):
        spool.put(rows)
    assert not spool.is_waiting
    assert spool.put(rows) == 5
    assert [each.number for each in spool.next(99)[0]] == [1, 2, 3, 4, 5]
    spool.close()


def test_directories_and_files_that_were_taken_are_known_for_ever(tmp_path):
    from promptguard.ledger.retention import Retention, forget

    ledger = Ledger(tmp_path / "ledger")
    for source in ("drain:one", "file:two", "process"):
        ledger.write_pairs([pair(1)], source, [1])
    while forget(ledger, Retention(), time.time() + 400 * 86_400, folded=0):
        pass
    for source, count in (("drain:one", 3), ("file:two", 3), ("process", 4)):
        ledger.write_pairs([pair(1)], source, [1])
        assert len(ledger.pairs_after(0)) == count
