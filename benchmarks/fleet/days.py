"""What a day of pairs costs PostgreSQL as it goes: its part dropped, or rows deleted; and how long dividing takes."""

from __future__ import annotations

import time

from benchmarks.fleet.telling import told
from tests.fleet.servers import Server

from promptguard.directories import check_ledger
from promptguard.ledger import schema
from promptguard.ledger.retention import DAY, Retention, begin_day, forget
from promptguard.ledger.store import Ledger

PAIRS = 1_000_000
SLICES = 40
"""Of rows, that are deleted to see how long one takes."""
_ADD = (
    'INSERT INTO promptguard.pair (stream, epoch, "group", at, call, outcome, reason, asked, control_model, '
    "candidate_model, control_served, candidate_served, vector, usd, input_tokens, output_tokens, latency) "
    "SELECT 'candidate', 1, 'prompt-' || n %% 50, {at} + n * {step}, n, 'compared', '', 'm', 'm', 'n', '', '', "
    "decode(repeat(md5(n::text), 27), 'hex'), 0.001, 300, 200, 1.0 FROM generate_series(1, {pairs}) n"
)


def days(server: Server) -> bool:
    """Measure; returns whether dividing took seconds, and dropping a tenth of deleting at most."""
    name = server.database()
    address = server.url(name).replace("postgresql://", "postgresql+psycopg://")
    ledger, database = Ledger(address), check_ledger(address).name
    _undivided(ledger)
    now = time.time() // DAY * DAY
    _add(server, database, now - 200 * DAY)
    began = time.perf_counter()
    ledger.open()
    divided = time.perf_counter() - began
    told(f"dividing a table of {PAIRS:,} pairs, s", f"{divided:.2f}", "seconds")
    began = time.perf_counter()
    assert begin_day(ledger, now - 199 * DAY)
    told("beginning the first day behind it, s", f"{time.perf_counter() - began:.2f}", "")
    _add(server, database, now - 199 * DAY)
    began = time.perf_counter()
    assert begin_day(ledger, now - 198 * DAY)
    told("beginning a day, s", f"{time.perf_counter() - began:.3f}", "")
    _add(server, database, now - DAY)
    folded = ledger.engine.days and 10**15
    before = _size(server, database)
    dropped = _forget(ledger, now, folded or 0)
    freed = before - _size(server, database)
    told(f"two days of {PAIRS:,} pairs dropped, s", f"{dropped:.2f}", "")
    told("bytes given back to the disk", f"{freed:,}", "")
    began = time.perf_counter()
    for _ in range(SLICES):
        forget(ledger, Retention(), now + 200 * DAY, folded=10**10 * 3)
    took = (time.perf_counter() - began) / SLICES
    told(f"a slice of 500 rows deleted, s; {PAIRS:,} rows so, s", f"{took:.3f}; {took * PAIRS / 500:.0f}", "")
    told("bytes given back by that", f"{before - freed - _size(server, database):,}", "")
    return divided < 10.0 and 10 * dropped < 2 * took * PAIRS / 500


def _undivided(ledger: Ledger) -> None:
    """Make the tables as schema 7 had them."""
    ledger.engine.prepare()
    with ledger.engine.begin(writes=True) as connection:
        schema.metadata.create_all(connection)
        connection.execute(schema.meta.insert().values(name="schema_version", value=b"7"))


def _add(server: Server, database: str, at: float) -> None:
    server.run(_ADD.format(at=at, step=DAY / PAIRS, pairs=PAIRS).replace("%%", "%"), database=database)
    server.run(
        "VACUUM ANALYZE promptguard.pair", database=database
    )  # as autovacuum does in the months between


def _size(server: Server, database: str) -> int:
    ((size,),) = server.run("SELECT pg_database_size(current_database())", database=database)
    return int(size)


def _forget(ledger: Ledger, now: float, folded: int) -> float:
    began = time.perf_counter()
    forget(ledger, Retention(), now, folded=folded)
    return time.perf_counter() - began
