"""A real Prometheus and Alertmanager (Debian's), an application that they scrape, and a webhook at the end."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.alerts.receiver import Receiver

PROMETHEUS, PROMTOOL, ALERTMANAGER = "prometheus", "promtool", "prometheus-alertmanager"
FILES = Path(__file__).parents[2] / "src" / "promptguard" / "monitoring" / "files"
RULES = FILES / "prometheus" / "promptguard.rules.yml"


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(
                f"{program} is not installed (Debian: apt-get install prometheus prometheus-alertmanager)"
            )


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Stack:
    """All of it, started one after the other; each can be ended and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ledger = directory / "shop"
        self.ports = {name: free_port() for name in ("app", "prometheus", "alertmanager")}
        self.running: list[subprocess.Popen[str]] = []
        self.receiver = Receiver()

    def start(self) -> None:
        self.receiver.__enter__()
        self._start_alertmanager()
        self._start_prometheus()
        self.start_app()

    def _start_alertmanager(self) -> None:
        config = self.directory / "alertmanager.yml"
        config.write_text(
            f"""
route:
  receiver: hook
  group_by: [alertname, promptguard_ledger]
  group_wait: 2s
  group_interval: 2s
  repeat_interval: 1h
receivers:
  - name: hook
    webhook_configs: [{{url: "{self.receiver.url}", send_resolved: true}}]
"""
        )
        self._run(
            ALERTMANAGER,
            f"--config.file={config}",
            f"--storage.path={self.directory / 'am'}",
            f"--web.listen-address=127.0.0.1:{self.ports['alertmanager']}",
            "--cluster.listen-address=",
        )

    def _start_prometheus(self) -> None:
        config, rules = self.directory / "prometheus.yml", self.directory / "rules.yml"
        # The rules that are shipped, but for the five minutes in which a test would wait for the end of an alert.
        rules.write_text(
            RULES.read_text("utf-8").replace("keep_firing_for: 5m", "keep_firing_for: 2s"), "utf-8"
        )
        config.write_text(
            f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
alerting:
  alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{self.ports["alertmanager"]}"]}}]}}]
scrape_configs:
  - job_name: shop
    static_configs: [{{targets: ["127.0.0.1:{self.ports["app"]}"]}}]
"""
        )
        self._run(
            PROMETHEUS,
            f"--config.file={config}",
            f"--storage.tsdb.path={self.directory / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}",
            "--log.level=error",
        )

    def start_app(self) -> None:
        self.app = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "tests.monitoring.app",
                str(self.ledger),
                str(self.ports["app"]),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running.append(self.app)
        assert self.app.stdout is not None
        assert self.app.stdout.readline() == "ready\n"

    def tell_app(self, command: str) -> None:
        assert self.app.stdin is not None
        assert self.app.stdout is not None
        self.app.stdin.write(f"{command}\n")
        self.app.stdin.flush()
        assert self.app.stdout.readline() == "done\n"

    def _run(self, *command: str) -> None:
        self.running.append(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        )

    def series(self, expr: str) -> list[dict[str, object]]:
        """Return what Prometheus answers to a query; raises for one that it does not understand."""
        url = f"http://127.0.0.1:{self.ports['prometheus']}/api/v1/query?query={urllib.parse.quote(expr)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = json.load(answer)["data"]["result"]
        assert isinstance(found, list)
        return found

    def wait(self, done, seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if done():
                    return
            except OSError:
                pass  # not up yet
            time.sleep(0.2)
        raise AssertionError(f"not within {seconds} s")

    def end(self) -> None:
        for process in reversed(self.running):
            process.kill()
            process.communicate()
        self.receiver.__exit__()


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    pytest.importorskip("opentelemetry.exporter.prometheus")
    needs(PROMETHEUS, ALERTMANAGER)
    made = Stack(tmp_path_factory.mktemp("stack"))
    try:
        made.start()
        yield made
    finally:
        made.end()
