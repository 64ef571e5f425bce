"""A ledger behind PgBouncer in transaction mode: nothing of it outlives a transaction, each may have another session."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading

import pytest
from sqlalchemy import select

from promptguard.ledger import schema
from promptguard.ledger.folds import Folds
from promptguard.ledger.retention import DAY, Retention, begin_day, forget
from promptguard.ledger.store import Ledger
from promptguard.report.overview import read_overview
from tests.fleet.pairs import judged, pair, story
from tests.fleet.servers import PASSWORD, sessions_of
from tests.fleet.test_commit_order import WRITER, calls_of, late
from tests.fleet.test_one_ledger import name_of
from tests.fleet.waiting import until

postgres_connections = pytest.importorskip("promptguard.ledger.engines.postgres_connections")

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
SESSIONS = 3
"""Of the server's, for all clients: less than there are clients, so that each has one of them now and then."""

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None, reason="pgbouncer is not installed (Debian: apt-get install pgbouncer)"
)


@pytest.fixture
def pooled(database, server, tmp_path):
    """The address of the database by way of a PgBouncer of the test's own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = tmp_path / "pgbouncer.ini"
    (tmp_path / "users").write_text(f'"app" "{PASSWORD}"\n')
    settings.write_text(
        f"[databases]\n* = host={server.socket} port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = plain\nauth_file = {tmp_path}/users\npool_mode = transaction\n"
        f"default_pool_size = {SESSIONS}\nmax_client_conn = 500\nunix_socket_dir =\nserver_idle_timeout = 1\n"
    )
    user = ["-u", server.user] if server.user else []
    process = subprocess.Popen([PGBOUNCER, "-q", *user, str(settings)], stderr=subprocess.PIPE, text=True)
    until(lambda: _answers(port) or process.poll() is not None)
    assert process.poll() is None, process.stderr.read()
    yield f"postgresql+psycopg://app:{PASSWORD}@127.0.0.1:{port}/{name_of(database)}?sslmode=disable"
    from tests.conftest import close_backgrounds

    close_backgrounds()
    process.terminate()
    process.communicate(timeout=30)


def _answers(port):
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def test_verdicts_are_those_of_a_directory(pooled, tmp_path):
    rows = story(300)
    for where in (pooled, tmp_path / "ledger"):
        for start in range(0, len(rows), 100):
            Ledger(where).write_pairs(rows[start : start + 100])
    assert judged(pooled) == judged(tmp_path / "ledger")
    assert read_overview(pooled).rows
    assert forget(Ledger(pooled), Retention(), 1e12, folded=10**9) > 0


def test_days_begin_and_go_and_leave_nothing_in_a_session(pooled, server):
    ledger = Ledger(pooled)
    for day in range(3):
        assert begin_day(ledger, 1e9 + day * DAY)
        ledger.write_pairs([pair(int(day * DAY))])
    newest = ledger.pairs_after(0)[-1].id
    while forget(ledger, Retention(), 1e9 + 92 * DAY, folded=newest):
        pass
    parts = "SELECT relname FROM pg_class WHERE relname ~ '^pair_[0-9]+_[0-9]+$'"
    assert server.run(parts, database=name_of(pooled)) == [("pair_2_20010911",)]
    with ledger.reading() as connection:
        assert connection.exec_driver_sql("SHOW role").scalar_one() == "none"
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "10s"


def test_processes_share_few_sessions_and_lose_nothing(pooled, server):
    processes, threads, pairs = 3, 4, 100
    Ledger(pooled).open()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, pooled, str(number), str(threads), str(pairs)],
            stderr=subprocess.PIPE,
        )
        for number in range(processes)
    ]
    folds, most, found, last = Folds(Ledger(pooled)), 0, [], 0
    here = sessions_of(name_of(pooled))
    while any(each.poll() is None for each in running):
        for row in folds.rows_after(last, 50):
            found.append(row.call)
            last = row.id
        most = max(most, server.run(here)[0][0])
    assert [each.communicate()[1] for each in running] == [b""] * processes
    assert 0 < most <= SESSIONS
    everything = calls_of(Folds(Ledger(pooled)))
    assert sorted(everything) == list(range(processes * threads * pairs))
    assert everything[: len(found)] == found


def test_a_late_commit_is_waited_for_through_it(pooled):
    ledger = Ledger(pooled)
    ledger.write_pairs([pair(1)])
    finish = late(ledger, 2)
    ledger.write_pairs([pair(3)])
    folds = Folds(Ledger(pooled))
    assert [row.call for row in folds.rows_after(0)] == []
    finish()
    assert calls_of(folds) == [1, 2, 3]


def test_claims_caps_and_leases_hold_through_it(pooled):
    ledgers, claimed, spent = [Ledger(pooled) for _ in range(6)], [], []

    def work(ledger):
        for number in range(20):
            if ledger.claim("candidate", 1, [f"question {number}"]):
                claimed.append(number)
            if ledger.reserve("2026-01-01", "shadow", 0.1, 2.0, None):
                spent.append(0.1)
            ledger.note(at=1.0, call=number, kind="route", stream="candidate", group="g", detail={})

    working = [threading.Thread(target=work, args=(each,)) for each in ledgers]
    for each in working:
        each.start()
    for each in working:
        each.join(60)
    assert sorted(claimed) == list(range(20))
    assert len(spent) == 20
    assert len(ledgers[0].occurrences_after(0)) == 120
    assert ledgers[0].take_lease("evaluator", "one", 0.0, 60.0)
    assert not ledgers[1].take_lease("evaluator", "other", 0.0, 60.0)


def test_a_rewrite_that_is_given_up_leaves_nothing_in_a_session(pooled, database, monkeypatch):
    import psycopg

    monkeypatch.setattr(postgres_connections, "LOCK_SECONDS", 1)
    ledger = Ledger(pooled)
    ledger.write_pairs(story(20))
    with Ledger(database).transaction() as holding:
        holding.execute(select(schema.pair)).all()
        assert not ledger.engine.expunge()
        with psycopg.connect(
            pooled.replace("+psycopg", ""), autocommit=True, prepare_threshold=None
        ) as asking:
            for _ in range(2 * SESSIONS):
                assert asking.execute("SHOW lock_timeout").fetchone() == ("0",)
    assert ledger.engine.expunge()
    assert len(ledger.pairs_after(0)) == 20
