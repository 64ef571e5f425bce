"""What orchestrators and Prometheus ask a watch: is it alive, is it ready, and its ledger's gauges, over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from promptguard.errors import ConfigurationError
from promptguard.telemetry.prometheus import gauges_of
from promptguard.telemetry.state import StateSource
from promptguard.watch.duty import Duty


class Health:
    """Serves `/livez`, `/readyz` and `/metrics` of a watch in threads of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._server = _bound(host, port)
        self.address = f"http://{host if ':' not in host else f'[{host}]'}:{self._server.server_address[1]}"

    def start(self, duty: Duty, source: Callable[[], StateSource | None]) -> None:
        """Answer from now on: of `duty`, and the gauges of `source`, which is None while this watch stands by."""
        self._server.pages = {
            "/livez": lambda: _told(duty, ok=duty.is_live),
            "/readyz": lambda: _told(duty, ok=duty.is_ready),
            "/metrics": lambda: (200, "text/plain; version=0.0.4; charset=utf-8", metrics(duty, source())),
        }
        threading.Thread(target=self._server.serve_forever, name="promptguard-health", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    pages: dict[str, Callable[[], tuple[int, str, str]]]


class _Page(BaseHTTPRequestHandler):
    timeout = 10
    server_version, sys_version = "promptguard", ""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Stay silent."""

    def do_GET(self) -> None:
        page = cast("_Server", self.server).pages.get(self.path.partition("?")[0])
        status, kind, text = (404, "text/plain", "livez, readyz, metrics\n") if page is None else page()
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _bound(host: str, port: int) -> _Server:
    try:
        server = _Server((host, port), _Page)
    except OSError as error:
        raise ConfigurationError(
            f"--host {host} --port {port}: {error.strerror or type(error).__name__}; choose another, or --port 0 for any"
        ) from None
    except OverflowError:
        raise ConfigurationError(f"--port {port}: give a number from 0 to 65535") from None
    server.pages = {}
    return server


def _told(duty: Duty, *, ok: bool) -> tuple[int, str, str]:
    told = {"state": duty.state, "ledger": "reachable" if duty.is_reachable else "unreachable"}
    return (200 if ok else 503), "application/json", json.dumps(told) + "\n"


def metrics(duty: Duty, source: StateSource | None) -> str:
    """Return gauges in Prometheus' text format, with the names that OpenTelemetry's exporter gives them."""
    active = int(duty.state == "active")
    lines = [
        "# HELP promptguard_watch_active 1 where this watch judges its ledger, 0 where it stands by",
        "# TYPE promptguard_watch_active gauge",
        f"promptguard_watch_active {active}",
    ]
    if source is not None:
        lines += gauges_of(source)
    return "\n".join(lines) + "\n"
