"""A small real ledger, made by the library itself against the fake provider: an alias moves half-way."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import close_backgrounds

CALLS, SWITCH = 150, 61
HOSTILE = "<script>alert(1)</script><img src=http://evil.example/x>\x1b[31m\u202e not prime"


@dataclass(frozen=True)
class Recorded:
    path: Path
    calls: int = CALLS
    switch: int = SWITCH


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return recorded_once(tmp_path_factory, "drifted", switch=SWITCH)


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return recorded_once(tmp_path_factory, "quiet", switch=CALLS + 1, calls=40)


def recorded_once(factory: pytest.TempPathFactory, name: str, *, switch: int, calls: int = CALLS) -> Recorded:
    """Record a ledger in one of the processes that share a run of the suite; return this one's own copy of it."""
    is_shared = "PYTEST_XDIST_WORKER" in os.environ
    place = (
        factory.getbasetemp().parent if is_shared else factory.getbasetemp()
    ) / f"recorded-{name}-{switch}-{calls}"
    place.mkdir(exist_ok=True)
    done = place / "done"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(place / "ledger", ignore_errors=True)  # of a recording that failed
            record(place / "ledger", switch=switch, calls=calls)
            done.touch()
    return Recorded(shutil.copytree(place / "ledger", factory.mktemp(name) / "ledger"), calls, switch)


def record(path: Path, *, switch: int, calls: int = CALLS) -> Recorded:
    openai = pytest.importorskip("openai")
    import promptguard
    from promptguard.testing import FakeClock, FakeProvider, Question

    clock, number = FakeClock(), itertools.count(1)
    now = 0

    def old(question: Question) -> str:
        return "[Yes]" if len(question.text) % 2 else "[No]"

    def alias(question: Question) -> str:
        return HOSTILE if now >= switch else old(question)

    with FakeProvider({"gpt-4": alias, "gpt-4-0314": old}) as provider:
        client = promptguard.wrap(
            openai.OpenAI(base_url=provider.url, api_key="test"),
            ledger=path,
            cache="memory",
            shadow=promptguard.Shadow(
                model="gpt-4-0314", sample=1.0, repeat=0.1, budget=promptguard.Budget(calls_per_minute=None)
            ),
            on_drift=promptguard.Route(to="gpt-4-0314"),
            record_content=True,
            clock=clock,
            seed=5,
        )
        for now in range(1, calls + 1):
            clock.advance(60)
            question = f"Is {10_000 + next(number)} {'a' * (now % 7)} prime?"
            client.chat.completions.create(
                model="gpt-4", messages=[{"role": "user", "content": question}], temperature=0
            )
            # one call twice, so that the cache has a hit; flushed, so that pairs keep the order of the calls
            if now == 3:
                client.chat.completions.create(
                    model="gpt-4", messages=[{"role": "user", "content": question}], temperature=0
                )
            if now % 5 == 0:
                assert promptguard.flush(60.0)
        assert promptguard.flush(60.0)
        promptguard.unwrap(client)
        client.close()
        close_backgrounds()  # the ledger is to be read; other tests look at the work that is open
    return Recorded(path, calls, switch)
