"""The page as it is served: a real server on loopback over a real ledger, spoken to in raw HTTP where it matters."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from promptguard.dashboard.serving import bound, server_of
from tests.report.conftest import quiet, recorded

__all__ = ["quiet", "recorded"]
CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without a window; a test that asks for it is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox"], timeout=110_000
        )
        yield found
        found.close()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@dataclass(frozen=True)
class Site:
    port: int
    ledger: Path

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, target: str, method: str = "GET", *, hosts: tuple[str, ...] | None = None, **headers: str
    ) -> Answer:
        """Send exactly this request line and these headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for host in (f"127.0.0.1:{self.port}",) if hosts is None else hosts:
            connection.putheader("Host", host)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)


@contextmanager
def serving(
    ledger: Path,
    token: str = "",
    host: str = "127.0.0.1",
    names: tuple[str, ...] = (),
    prompts: str = "",
) -> Iterator[Site]:
    with bound("127.0.0.1", 0) as listening:
        server = server_of(str(ledger), host=host, token=token, names=names, prompts=prompts)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Site(listening.getsockname()[1], ledger)
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="session")
def site(recorded) -> Iterator[Site]:
    with serving(recorded.path) as found:
        yield found
