"""What stands between a process and its database in tests: it holds answers back, cuts connections, leads elsewhere."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self


class Gate:
    """A TCP server that passes bytes on to PostgreSQL's socket. Thread-safe.

    `close()` holds back every answer from now on, also to connections that are open; `open()` lets them through.
    `delay` is how many seconds each piece of an answer takes. `close_after(b"COMMIT")` closes it as those bytes were asked.
    """

    def __init__(self, upstream: str, port: int) -> None:
        self.delay = 0.0
        self._upstream = self._file(upstream, port)
        self._open = threading.Event()
        self._open.set()
        self._closing: bytes | None = None
        self._sockets: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)
        threading.Thread(target=self._serve, name="gate", daemon=True).start()

    @staticmethod
    def _file(upstream: str, port: int) -> str:
        return str(Path(upstream) / f".s.PGSQL.{port}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # which ends accept()
        self._open.set()
        self.cut()

    def address(self, url: str) -> str:
        """Return the address of a server with the gate before it."""
        return f"{url.partition('?')[0].replace('@/', f'@127.0.0.1:{self._server.getsockname()[1]}/')}?sslmode=disable"

    def close(self) -> None:
        """Hold back what the server says."""
        self._open.clear()

    def open(self) -> None:
        """Let everything through, also what was held back."""
        self._closing = None
        self._open.set()

    def close_after(self, words: bytes) -> None:
        """Hold back what the server says once `words` have been asked: they reach it."""
        self._closing = words

    @property
    def is_closed(self) -> bool:
        """Whether answers are held back."""
        return not self._open.is_set()

    def lead_to(self, upstream: str, port: int) -> None:
        """Cut every connection; new ones go to another server."""
        self._upstream = self._file(upstream, port)
        self.cut()

    def cut(self) -> None:
        """Cut every connection."""
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with self._server:
            while True:
                try:
                    client, _ = self._server.accept()
                except OSError:
                    return
                threading.Thread(target=self._conversation, args=(client,), name="gate", daemon=True).start()

    def _conversation(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            with contextlib.suppress(OSError):
                server.connect(self._upstream)
                self._sockets |= {client, server}
                answers = threading.Thread(target=self._said, args=(client, server), name="gate", daemon=True)
                answers.start()
                self._asked(client, server)
                answers.join()
            self._sockets -= {client, server}

    def _asked(self, client: socket.socket, server: socket.socket) -> None:
        def pass_on(data: bytes) -> None:
            if self._closing is not None and self._closing in data:
                self.close()
            server.sendall(data)

        _pass(client, server, pass_on)

    def _said(self, client: socket.socket, server: socket.socket) -> None:
        def pass_on(data: bytes) -> None:
            time.sleep(self.delay)
            self._open.wait()
            client.sendall(data)

        _pass(server, client, pass_on)


def _pass(one: socket.socket, other: socket.socket, pass_on: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            pass_on(data)
    for each in (one, other):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
