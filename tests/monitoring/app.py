"""An application with a wrapped client whose metrics Prometheus can scrape: `python -m tests.monitoring.app LEDGER PORT`.

It makes calls, then serves until its standard input ends. Lines that it reads there: `acknowledge`; `calls N`, of the
changed model; it answers each with `done`.
"""

from __future__ import annotations

import itertools
import sys

from openai import OpenAI
from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server

import promptguard
from promptguard.testing import FakeProvider, Fault

_asked = itertools.count(1)


def pinned(_question: object) -> str | Fault:
    """Answer, and fail one time in twenty."""
    return Fault("status", status=400) if next(_asked) % 20 == 0 else "yes, it is"


MODELS = {"gpt-4": lambda _: "```\nno\n```", "gpt-4-0613": pinned}


def main(ledger: str, port: int) -> None:
    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
    start_http_server(port, "127.0.0.1")
    budget = promptguard.Budget(usd_per_day=5, calls_per_day=5000, calls_per_minute=None)
    with FakeProvider(MODELS) as provider:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        promptguard.wrap(
            client,
            ledger=ledger,
            cache="memory",
            shadow=promptguard.Shadow("gpt-4-0613", sample=1.0, repeat=0.2, budget=budget),
            replay=promptguard.Replay(share=0.1, budget=budget),
            drift=promptguard.Drift(mode="gate", alpha=0.05),
        )
        asked = 0

        def ask(count: int) -> None:
            nonlocal asked
            for _ in range(count):
                asked += 1
                with promptguard.group("triage@3" if asked % 2 else "sort@1"):
                    messages = [{"role": "user", "content": f"question {asked}"}]
                    for _twice in range(2):  # the second is a hit
                        client.chat.completions.create(model="gpt-4", messages=messages)
            promptguard.flush(20.0)

        ask(80)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for line in sys.stdin:
            command, _, rest = line.strip().partition(" ")
            if command == "acknowledge":
                promptguard.acknowledge(ledger)
            elif command == "calls":
                ask(int(rest))
            promptguard.flush(20.0)
            sys.stdout.write("done\n")
            sys.stdout.flush()
        client.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
