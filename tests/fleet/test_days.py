"""Pairs of a day lie in a part of their own, which is dropped as a whole; nobody who writes or reads notices."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
from sqlalchemy import text

from promptguard.ledger import migrations, schema
from promptguard.ledger.copying import copy_ledger
from promptguard.ledger.folds import Folds
from promptguard.ledger.retention import DAY, WAITS, Retention, begin_day, forget
from promptguard.ledger.store import Ledger
from promptguard.ledger.writer import Writer
from tests.fleet.pairs import judged, pair, story
from tests.fleet.test_commit_order import calls_of, late
from tests.fleet.test_one_ledger import name_of
from tests.fleet.waiting import until

postgres_parts = pytest.importorskip("promptguard.ledger.engines.postgres_parts")
postgres_days = pytest.importorskip("promptguard.ledger.engines.postgres_days")

MORNING = 1_000_000_000 // DAY * DAY
TEXTS = {"question": b"q", "control": b"a", "candidate": b"b"}
KEEP = Retention(pairs=3.0, content=1.0)


@pytest.fixture
def ledger(database):
    found = Ledger(database)
    found.open()
    return found


def fill_day(ledger, day, pairs=10, **more):
    """Write a day's pairs, in its part."""
    at = MORNING + day * DAY
    begun = begin_day(ledger, at)
    ledger.write_pairs([pair(100 * day + n, at=at + n * DAY / pairs, **more) for n in range(pairs)])
    return begun


def names(ledger, table="pair"):
    with ledger.reading() as connection:
        return [each.name for each in postgres_parts.parts(connection, table)]


def forget_all(ledger, at, folded=10**15):
    while forget(ledger, KEEP, at, folded=folded):
        pass


def test_each_day_is_a_part_and_ids_ascend(ledger):
    for day in range(3):
        assert fill_day(ledger, day)
        assert begin_day(ledger, MORNING + day * DAY + 3600.0), "a day is begun once"
    assert names(ledger) == ["pair_0_20010909", "pair_1_20010910", "pair_2_20010911"]
    assert names(ledger, "content") == ["content_0_20010909", "content_1_20010910", "content_2_20010911"]
    rows = ledger.pairs_after(0)
    assert [row.call for row in rows] == [100 * day + n for day in range(3) for n in range(10)]
    assert [row.id // postgres_parts.WIDTH for row in rows] == [*[0] * 10, *[1] * 10, *[2] * 10]
    assert Folds(ledger).progress()[0] == rows[-1].id


def test_days_without_pairs_make_no_parts(ledger):
    for day in range(5):
        assert begin_day(ledger, MORNING + day * DAY)
    assert names(ledger) == ["pair_0_20010913"]
    fill_day(ledger, 5)
    for day in range(6, 9):
        assert begin_day(ledger, MORNING + day * DAY)
    assert names(ledger) == ["pair_0_20010914", "pair_1_20010917"]
    with ledger.reading() as connection:
        newest = migrations.words(connection).newest(connection, schema.pair)
    assert newest == ledger.pairs_after(0)[-1].id, "found below a part that is empty"


def test_whole_days_are_dropped_texts_first(ledger):
    for day in range(6):
        fill_day(ledger, day, content=dict(TEXTS))
    now = MORNING + 6 * DAY
    newest = ledger.pairs_after(0)[-1].id
    forget_all(ledger, now, folded=newest)
    assert [row.call // 100 for row in ledger.pairs_after(0)][::10] == [3, 4, 5]
    assert [name[:7] for name in names(ledger)] == ["pair_3_", "pair_4_", "pair_5_"]
    assert [name[:10] for name in names(ledger, "content")] == ["content_5_"]
    with ledger.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM content")).scalar_one() == 10


@pytest.mark.parametrize(("folded", "left"), [(0, 6), (2, 4), (5, 3)])
def test_what_is_not_judged_yet_stays(ledger, folded, left):
    for day in range(6):
        fill_day(ledger, day)
    rows = ledger.pairs_after(0)
    forget_all(ledger, MORNING + 6 * DAY, folded=rows[10 * folded].id if folded else 0)
    assert len(names(ledger)) == left


def test_a_part_with_younger_pairs_is_emptied_row_by_row(ledger):
    fill_day(ledger, 0)
    ledger.write_pairs([pair(99, at=MORNING + 50 * DAY)])
    for day in range(1, 6):
        fill_day(ledger, day)
    newest = ledger.pairs_after(0)[-1].id
    forget_all(ledger, MORNING + 4 * DAY, folded=newest)
    assert len(ledger.pairs_after(0)) == 61, "rows wait for their day to be past, and a little longer"
    forget_all(ledger, MORNING + 4 * DAY + WAITS, folded=newest)
    assert [row.call for row in ledger.pairs_after(0)][:1] == [99]
    assert [name[:7] for name in names(ledger)][:2] == ["pair_0_", "pair_3_"]


def test_old_pairs_that_come_late_go_by_rows(ledger):
    fill_day(ledger, 0)
    ledger.write_pairs([pair(n, at=MORNING - 50 * DAY, content=dict(TEXTS)) for n in range(5)])
    ledger.write_pairs([pair(7, at=MORNING)])
    forget_all(ledger, MORNING + DAY, folded=10**15)
    assert len(ledger.pairs_after(0)) == 11


def test_a_transaction_that_is_held_keeps_the_next_part_unused_and_nobody_waiting(ledger, monkeypatch):
    monkeypatch.setattr(postgres_days, "WRITERS_SECONDS", 0.3)
    fill_day(ledger, 0)
    finish = late(ledger, 50)
    began = time.monotonic()
    assert not begin_day(ledger, MORNING + DAY), "whoever inserts may know no part but the old ones"
    ledger.write_pairs([pair(51)])
    assert time.monotonic() - began < 3.0
    finish()
    assert begin_day(ledger, MORNING + DAY)
    ledger.write_pairs([pair(52)])
    assert [(row.call, row.id // postgres_parts.WIDTH) for row in ledger.pairs_after(0)][-3:] == [
        (50, 0),
        (51, 0),
        (52, 1),
    ]


def test_a_transaction_that_is_held_keeps_an_old_part_and_delays_writers_little(ledger, database):
    for day in range(6):
        fill_day(ledger, day)
    rows = ledger.pairs_after(0)
    finish = late(Ledger(f"{database}&application_name=other"), 50)  # a process has but two connections
    stop, slowest = threading.Event(), [0.0]

    def write():
        for number in itertools.count(1000):
            began = time.monotonic()
            ledger.write_pairs([pair(number)])
            slowest[0] = max(slowest[0], time.monotonic() - began)
            if stop.is_set():
                return

    writing = threading.Thread(target=write)
    writing.start()
    try:
        forget(ledger, KEEP, MORNING + 6 * DAY, folded=rows[-1].id)
        assert len(names(ledger)) == 6
    finally:
        finish()
        stop.set()
        writing.join(30)
    assert slowest[0] < 5.0, "the lock is waited for a moment, never as long as the transaction lasts"
    forget_all(ledger, MORNING + 6 * DAY, folded=rows[-1].id)
    assert len(names(ledger)) == 3


def test_days_begin_amid_writing(ledger, database):
    """A part is used once all that insert know of it: no row finds no table."""
    fill_day(ledger, 0)
    faults = []
    writers = [Writer(Ledger(database), lambda: None, lambda *fault: faults.append(fault)) for _ in range(3)]
    stop = threading.Event()

    def put(writer, first):
        for number in itertools.count(first, 3):
            writer.put_pair(pair(number))
            if stop.wait(0.002):
                return

    threads = [threading.Thread(target=put, args=(writer, n)) for n, writer in enumerate(writers, 1000)]
    for thread in threads:
        thread.start()
    folds, read, last = Folds(Ledger(database)), [], 0

    def take():
        nonlocal last
        for row in folds.rows_after(last, 10**6):
            read.append(row.call)
            last = row.id
        return not folds.is_held_back

    try:
        for day in range(1, 8):
            until(lambda day=day: begin_day(ledger, MORNING + day * DAY))
            until(lambda day=day: folds.progress()[0] >= day * postgres_parts.WIDTH)
            take()
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert len(names(ledger)) == 8
    assert all(writer.flush(30.0) for writer in writers)
    assert not faults
    assert not any(writer.dropped for writer in writers)
    until(take)
    assert read == calls_of(Folds(Ledger(database))), "none was passed over"
    assert len(read) == len(set(read))
    for writer in writers:
        writer.close(5.0)


def test_one_that_is_cut_off_between_is_seen_through(ledger, monkeypatch):
    fill_day(ledger, 0)
    with monkeypatch.context() as cut:
        cut.setattr(postgres_days.PostgresDays, "_go_on", lambda *_: False)
        assert not begin_day(ledger, MORNING + DAY)
    ledger.write_pairs([pair(1)])
    assert begin_day(ledger, MORNING + DAY)
    ledger.write_pairs([pair(2)])
    assert [row.id // postgres_parts.WIDTH for row in ledger.pairs_after(0)][-2:] == [0, 1]


def test_a_copy_has_the_same_ids(ledger, database, server, tmp_path):
    for day in range(3):
        fill_day(ledger, day, content=dict(TEXTS))
    copy_ledger(database, tmp_path / "there")
    other = f"{database}&schema=other"
    copy_ledger(tmp_path / "there", other)
    found = Ledger(other)
    assert [row.id for row in found.pairs_after(0)] == [row.id for row in ledger.pairs_after(0)]
    for each in (ledger, found, Ledger(tmp_path / "there")):
        each.write_pairs(story(50))
    assert judged(database) == judged(other) == judged(tmp_path / "there")


def test_a_copy_takes_texts_where_its_newest_days_had_none(ledger, database, monkeypatch):
    fill_day(ledger, 0, content=dict(TEXTS))
    fill_day(ledger, 1)
    other = f"{database}&schema=other"
    copy_ledger(database, other)
    found = Ledger(other)
    found.write_pairs([pair(200, at=MORNING + DAY, content=dict(TEXTS))])
    assert len(found.pairs_after(0)) == 21


def test_a_part_for_texts_that_is_missing_is_made_and_what_had_no_part_waits(ledger, tmp_path):
    fill_day(ledger, 0, content=dict(TEXTS))
    fill_day(ledger, 1)
    with ledger.transaction() as connection:
        connection.exec_driver_sql(f'DROP TABLE "{names(ledger, "content")[-1]}"')
    faults = []
    writer = Writer(ledger, lambda: None, lambda *fault: faults.append(fault))
    writer.put_pair(pair(200, at=MORNING + DAY, content=dict(TEXTS)))
    until(lambda: faults)
    assert begin_day(ledger, MORNING + DAY + 3600.0)
    assert writer.flush(60.0)
    writer.stop()
    writer.join(time.monotonic() + 30.0)
    assert len(ledger.pairs_after(0)) == 21
    assert writer.dropped == 0


def test_a_clock_that_was_ahead_costs_one_day_its_own_part_and_no_pair_its_place(ledger):
    for day in (0, 5, 1, 2, 5, 6):
        fill_day(ledger, day)
    assert [name[7:] for name in names(ledger)] == [
        "20010909",
        "20010914",
        "20010910",
        "20010911",
        "20010915",
    ]
    assert [row.call // 100 for row in ledger.pairs_after(0)] == [
        day for day in (0, 5, 1, 2, 5, 6) for _ in range(10)
    ]


def test_every_part_is_written_anew_where_bytes_are_to_go(ledger, database, server):
    for day in range(3):
        fill_day(ledger, day, content=dict(TEXTS))
    files = "SELECT relname, relfilenode FROM pg_class WHERE relname ~ '^(pair|content)_[0-9]+_[0-9]+$' ORDER BY 1"
    before = server.run(files, database=name_of(database))
    assert ledger.engine.expunge()
    after = server.run(files, database=name_of(database))
    assert [name for name, _ in after] == [name for name, _ in before]
    assert len(before) == 6
    assert not set(after) & set(before)
    assert len(ledger.pairs_after(0)) == 30


@pytest.fixture
def older(database, server):
    """A ledger of schema 7, with pairs, and what was granted on it."""
    engine = Ledger(database).engine
    engine.prepare()
    with engine.begin(writes=True) as connection:
        schema.metadata.create_all(connection)
        connection.execute(schema.meta.insert().values(name="schema_version", value=b"7"))
    server.run("DROP ROLE IF EXISTS looks", "CREATE ROLE looks LOGIN")
    server.run(
        "GRANT USAGE ON SCHEMA promptguard TO looks", "GRANT SELECT ON promptguard.pair TO looks",
        "INSERT INTO promptguard.pair (stream, epoch, \"group\", at, call, outcome, reason, asked, control_model, "  # noqa: S608
        "candidate_model, control_served, candidate_served, usd, input_tokens, output_tokens, latency) "
        f"SELECT 'candidate', 1, 'g', {MORNING} + n / 100.0, n, 'not_paired', '', 'm', 'm', 'n', '', '', 0, 0, 0, 0 "
        "FROM generate_series(1, 2000) n",
        "INSERT INTO promptguard.content SELECT id, 'q', 'a', 'b' FROM promptguard.pair WHERE id % 100 = 0",
        database=name_of(database),
    )  # fmt: skip
    yield database
    server.run("DROP OWNED BY looks", "DROP ROLE looks", database=name_of(database))


@pytest.mark.parametrize("small", [0, 10**9])
def test_tables_of_before_become_the_first_part(older, server, monkeypatch, small):
    monkeypatch.setattr(postgres_parts, "SMALL_BYTES", small)
    ledger = Ledger(older)
    files = "SELECT relfilenode FROM pg_class WHERE relname ~ '^(pair|content)(_0.*)?$' AND relkind = 'r' ORDER BY 1"
    before = server.run(files, database=name_of(older))
    ledger.open()
    assert server.run(files, database=name_of(older)) == before, "the same files: nothing was written anew"
    assert len(ledger.pairs_after(0, 5000)) == 2000
    with ledger.reading() as connection:
        assert [each.has_bound for each in postgres_parts.parts(connection, "pair")] == [bool(small)]
    assert server.run(
        "SELECT has_table_privilege('looks', 'promptguard.pair', 'SELECT')", database=name_of(older)
    ) == [(True,)]
    for day in (10_001, 10_002):  # behind the day on which they were divided
        fill_day(ledger, day)
    assert [name[:7] for name in names(ledger)] == ["pair_0_", "pair_1_", "pair_2_"]
    assert [row.id for row in ledger.pairs_after(0, 5000)][:2001][-1] == postgres_parts.WIDTH
    indexes = "SELECT count(*) FROM pg_indexes WHERE tablename ~ '^pair_0_' "
    assert server.run(indexes, database=name_of(older)) == [(4,)], "none was made a second time"
    with ledger.transaction() as connection:
        migrations.words(connection).divide(connection)
    forget_all(ledger, MORNING + 10_006 * DAY, folded=10**15)
    assert [name[:7] for name in names(ledger)] == ["pair_2_"]


def test_several_divide_at_once_and_one_is_cut_off(older, monkeypatch):
    divide, ran = postgres_parts._divide, []

    def cut(connection, first):
        divide(connection, first)
        ran.append(first.table)
        if len(ran) == 1:
            raise RuntimeError("cut off")

    monkeypatch.setattr(postgres_parts, "_divide", cut)
    with pytest.raises(Exception, match="RuntimeError"):
        Ledger(older).open()
    threads = [threading.Thread(target=Ledger(older).open) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert ran == ["pair", "pair", "content"], "cut off once, then made once"
    assert len(Ledger(older).pairs_after(0, 5000)) == 2000
