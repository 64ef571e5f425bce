"""A database whose disk is full, that denies rights, or takes no writes: pairs wait, bounded, and arrive once.

The disk is a tmpfs of its own, mounted for this, on which another file takes what is left.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.fleet.telling import told
from tests.fleet.pairs import pair
from tests.fleet.servers import Server

from promptguard.ledger import spool
from promptguard.ledger.spool import spool_directory
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.ledger.writer import Writer

HARD, SOFT = 30_000, 500
"""pairs that are written while there is trouble: more than the bound of the spool takes, and few"""
BOUND = 8 * 1024 * 1024
ENDED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('app', 'writer')"


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """Mount a small file system. Raises subprocess.CalledProcessError where that is not allowed."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", place], check=True)
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path) -> Callable[[], None]:
    """Take what is left of a disk; returns what gives it back."""
    path = place / "filler"
    with path.open("wb") as filler:
        try:
            while True:
                os.write(filler.fileno(), b"\0" * 65536)
        except OSError:
            pass
    return path.unlink


def in_trouble(name: str, address: str, begin: Callable[[], Callable[[], object]], *, count: int) -> bool:
    """Write pairs before, amid and after trouble; returns whether all that were not counted as dropped are there once."""
    kinds: Counter[str] = Counter()

    def noted(_where: str, error: BaseException) -> None:
        kinds[error.trouble.kind if isinstance(error, LedgerUnavailable) else type(error).__name__] += 1

    ledger = Ledger(address)
    writer, number = Writer(ledger, lambda: None, noted), 0

    def put(most: int, slowest: float = 0.0) -> float:
        nonlocal number
        for _ in range(most):
            number += 1
            began = time.perf_counter()
            writer.put_pair(pair(number))
            slowest = max(slowest, time.perf_counter() - began)
            if number % 2000 == 0:
                time.sleep(0.3)
        return slowest

    put(200)
    before = writer.flush(60)
    end = begin()
    slowest = put(count)
    time.sleep(5.0)
    waiting = sum(each.stat().st_size for each in spool_directory(ledger.place).glob("*.pairs"))  # type: ignore[arg-type]
    end()
    put(100)
    deadline, flushed = time.monotonic() + 180, False
    while not flushed and time.monotonic() < deadline:
        flushed = writer.flush(10) or (not writer._pending() and not writer._busy)
    writer.close(10)
    found = [row.call for row in Ledger(address).pairs_after(0, 10**6)]
    good = (
        before and flushed and len(found) == len(set(found)) == number - writer.dropped and waiting <= BOUND
    )
    good &= set(range(1, 201)) <= set(found)
    told(
        f"{name}: put, there, twice, dropped and counted",
        f"{number:,}, {len(found):,}, {len(found) - len(set(found))}, {writer.dropped:,}",
        f"waiting {waiting:,} bytes; told as {', '.join(kinds)}; putting took {1e3 * slowest:.1f} ms at most",
    )
    return good


def tablespace_full(server: Server) -> bool:
    """Fill the disk that tables are on; the server's own has room."""
    good = True
    with small_disk("64m") as disk:
        place = disk / "space"
        place.mkdir()
        if server.user is not None:
            subprocess.run(["chown", server.user, str(place)], check=True)
        server.run(f"CREATE TABLESPACE small LOCATION '{place}'")
        for name, count in (("disk of tables full", SOFT), ("the same, more than may wait", HARD)):
            database = server.database()
            server.run(f"ALTER DATABASE {database} SET TABLESPACE small")
            good &= in_trouble(name, server.url(database), lambda: fill(disk), count=count)
            server.run(f"DROP DATABASE {database} WITH (FORCE)")
        server.run("DROP TABLESPACE small")
    return good


def log_full() -> bool:
    """Fill the disk that the whole server is on, so that it ends as its log cannot be written; it is started again."""
    with small_disk("256m") as disk:
        server = Server(is_safe=True, inside=disk)
        try:

            def begin() -> Callable[[], object]:
                give_back = fill(disk)

                def end() -> None:
                    give_back()
                    with contextlib.suppress(Exception):  # it has ended already
                        server.stop("immediate")
                    server.start()

                return end

            return in_trouble(
                "disk of the whole server full", server.url(server.database()), begin, count=SOFT
            )
        finally:
            server.close()


def rights_taken(server: Server) -> bool:
    """Take the rights of a role, then have the database take no writes, and give both back."""
    database = server.database()
    Ledger(server.url(database)).open()
    rights = "ALL ON ALL TABLES IN SCHEMA promptguard"
    server.run(
        "CREATE ROLE writer LOGIN", "GRANT USAGE ON SCHEMA promptguard TO writer", f"GRANT {rights} TO writer",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA promptguard TO writer", database=database,
    )  # fmt: skip

    def revoked() -> Callable[[], object]:
        server.run(f"REVOKE {rights} FROM writer", database=database)
        return lambda: server.run(f"GRANT {rights} TO writer", database=database)

    def read_only() -> Callable[[], object]:
        server.run(f"ALTER DATABASE {database} SET default_transaction_read_only = on", ENDED)
        return lambda: server.run(f"ALTER DATABASE {database} RESET default_transaction_read_only", ENDED)

    good = in_trouble("rights taken", server.url(database, user="writer"), revoked, count=SOFT)
    server.run("TRUNCATE promptguard.pair, promptguard.content", database=database)
    good &= in_trouble("takes no writes", server.url(database), read_only, count=SOFT)
    server.run(f"DROP DATABASE {database} WITH (FORCE)", "DROP ROLE writer")
    return good


def full() -> bool:
    """Fill disks, and take rights; returns whether nothing that was not told of was lost."""
    spool.MOST_BYTES = BOUND
    with tempfile.TemporaryDirectory() as local:
        os.environ["PROMPTGUARD_LOCAL"] = local
        server = Server(is_safe=True)
        try:
            results = [rights_taken(server), tablespace_full(server)]
        finally:
            server.close()
        return all([*results, log_full()])
