from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from promptguard.testing import FakeProvider


@pytest.fixture
def provider():
    with FakeProvider({"m": lambda _: "Yes.", "n": lambda _: "Yes."}) as running:
        yield running


class Watch:
    """A running `promptguard watch --json`."""

    def __init__(self, ledger, *options, **environment):
        command = [
            sys.executable,
            "-m",
            "promptguard",
            "watch",
            "--ledger",
            str(ledger),
            "--json",
            "--port",
            "0",
        ]
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip
        self.started = json.loads(self.process.stdout.readline())

    def state(self):
        """Wait for the next change of its state."""
        return json.loads(self.process.stdout.readline())["state"]

    def get(self, path):
        """Return status and text of a page."""
        try:
            with urllib.request.urlopen(self.started["health"] + path, timeout=30) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def end(self, number=signal.SIGTERM):
        """End it; returns its exit code and what it wrote to standard error."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@pytest.fixture
def watch():
    started = []

    def start(ledger, *options, **environment):
        started.append(Watch(ledger, *options, **environment))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()
