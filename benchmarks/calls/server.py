"""The provider that all sides ask: prints its URL, serves until its input ends."""

from __future__ import annotations

import sys

from promptguard.testing import FakeProvider
from promptguard.testing.provider import Fault, Question, Served

ANSWER = "word " * 60


def at_once(_question: Question) -> str:
    return ANSWER


def main() -> None:
    models = {
        "gpt-4": at_once,
        "gpt-4-0314": at_once,
        "ordinary": lambda _question: Served(ANSWER, delay=0.05),
        "slow": lambda _question: Served(ANSWER, delay=2.0),
        "failing": lambda _question: Fault("status", status=500),
        "black hole": lambda _question: Fault("hang", seconds=600.0),
    }
    with FakeProvider(models, chunk_words=1) as provider:
        print(provider.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
