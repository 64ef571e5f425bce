"""OpenTelemetry loads what the environment names, and raises what comes of it: never a reason for wrap() to fail."""

from __future__ import annotations

import subprocess
import sys

import pytest

from promptguard.testing import FakeProvider

PROGRAM = """
import logging, sys
logging.basicConfig(format="%(name)s|%(message)s", level=logging.WARNING)
import openai, promptguard
for _ in range(2):
    client = openai.OpenAI(base_url=sys.argv[1], api_key="k")
    promptguard.wrap(client, cache="memory", ledger=sys.argv[2])
    for _ in range(2):
        asked = client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "hi"}])
        print(asked.choices[0].message.content)
promptguard.unwrap(client)
"""

pytestmark = pytest.mark.sdk


@pytest.mark.parametrize(
    ("variable", "named", "told"),
    [
        ("OTEL_PYTHON_TRACER_PROVIDER", "nowhere_provider", 1),
        ("OTEL_PYTHON_METER_PROVIDER", "nowhere_provider", 1),
        ("OTEL_PYTHON_TRACER_PROVIDER", "", 1),
        ("OTEL_PYTHON_TRACER_PROVIDER", "default_tracer_provider", 0),
        ("OTEL_PYTHON_CONTEXT", "nowhere_context", 0),
    ],
)
def test_a_provider_that_is_not_installed_turns_telemetry_off(variable, named, told, tmp_path, monkeypatch):
    monkeypatch.setenv(variable, named)
    with FakeProvider({"gpt-4": lambda _: "fine"}) as provider:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, provider.url, str(tmp_path)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "fine\n" * 4), done.stderr
        assert provider.asked("gpt-4") == 2  # the cache works as ever
    ours = [line for line in done.stderr.splitlines() if line.startswith("promptguard")]
    assert sum("telemetry is off" in line for line in ours) == told, done.stderr
    assert all("OTEL_PYTHON_TRACER_PROVIDER" in line for line in ours)
