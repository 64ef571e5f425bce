"""Faults on demand: the n-th operation of a set of ours raises, for every n, while a small application makes its calls."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import openai

import promptguard
from promptguard.background import replaying
from promptguard.testing import FakeProvider, Fault

CALLER = (
    "guarding.Interceptor.begin",
    "guarding.Interceptor.perform",
    "guarding.Interceptor.join",
    "guarding.Interceptor.join_async",
    "guarding.Interceptor.leave",
    "guarding.Interceptor.close",
    "guarding.Interceptor.emit",
    "guarding.Interceptor._take_places",
    "guarding.Interceptor._identify",
    "guarding.attempt",
    "guarding.call_began",
    "http.run.finish_abandoned",
    "http.run.delivered",
    "http.transport._Httpx.to_ours",
    "http.transport._Httpx.head",
    "http.transport._Httpx.rebuilt",
    "http.transport._Httpx.watch",
    "http.streams.Recorder._keep",
    "http.streams.Recorder._tell",
    "cache.tiered.Tiered.get",
    "cache.tiered.Tiered.put",
    "cache.single_flight.SingleFlight.join",
    "cache.single_flight.SingleFlight.join_async",
    "cache.single_flight.SingleFlight.complete",
    "core.caching.cache_key",
    "core.recent.RecentModels.saw",
    "core.recent.RecentModels.moved",
    "wire.openai_chat.read_request",
    "wire.openai_chat.read_reply",
    "telemetry.otel.Telemetry.record",
    "background.engine.Background.take_places",
    "background.places.Places.take",
    "background.places.Places.answered",
    "background.storing.Storing.take",
    "background.storing.Storing._offer",
    "shadow.admission.Admission.admit",
    "background.engine.Background.offer",
    "background.engine.Background.abandon",
    "background.engine.Background.tally",
    "background.engine.Background.note_sighting",
)
"""What runs on the thread or the loop of whoever makes a call."""

BACKGROUND = (
    "ledger.engines.sqlite.SqliteEngine.begin",
    "ledger.door.Door._open",
    "ledger.store.Ledger.write_pairs",
    "ledger.store.Ledger.claim",
    "ledger.store.Ledger.reserve",
    "ledger.store.Ledger.settle",
    "ledger.store.Ledger.count",
    "ledger.store.Ledger.add_spending",
    "ledger.store.Ledger.note_sightings",
    "ledger.store.Ledger.pairs_after",
    "ledger.store.Ledger.occurrences_after",
    "ledger.store.Ledger.take_lease",
    "ledger.store.Ledger.bank",
    "ledger.store.Ledger.due",
    "ledger.folds.Folds.write",
    "ledger.folds.Folds.load",
    "ledger.folds.Folds.save",
    "ledger.folds.Folds.progress",
    "ledger.writer.Writer._run",
    "ledger.writer.Writer._commit",
    "ledger.writer.Writer._write",
    "background.evaluating.Evaluator._run",
    "background.evaluating.Evaluator._turn",
    "background.evaluating.Evaluator._take_all",
    "background.evaluating.Evaluator._write",
    "background.folding.Fold.take",
    "background.acting.Acting.catch_up",
    "background.engine.Background._handle",
    "background.engine.Background._tidy",
    "background.engine.Background._pair",
    "background.storing.Storing._store",
    "background.engine.Background._lose",
    "background.engine.Background.emit",
    "background.pairing.Pairing.pair",
    "background.pairing.Pairing._row",
    "background.pairing.Pairing.ask",
    "background.pairing.Pairing.compared",
    "background.pairing.Pairing.claim",
    "background.replaying.Replaying._run",
    "background.replaying.Replaying._look",
    "background.asker._Closing.join",
    "shadow.worker.Worker._run",
    "shadow.budget.BudgetLimiter.reserve",
    "shadow.budget.BudgetLimiter.settle",
    "cache.tiered.Tiered._work",
    "cache.tiered.Tiered._do",
    "cache.tiered.Tiered._open",
    "cache.tiered.Tiered._write",
    "cache.tiered.Tiered._look",
    "lifetime.shared.Shared._look_after",
    "lifetime.shared.Shared._close_idle",
)
"""What runs in threads of ours: the ledger's transactions, every job of the cache on disk, the threads' own bodies."""


class Planned(Exception):  # noqa: N818 - it is no error
    """A fault that a sweep put there."""


RAISED: tuple[type[BaseException], ...] = (Planned, MemoryError, SystemExit, KeyboardInterrupt)
ON_CALLERS: tuple[type[BaseException], ...] = (Planned, MemoryError, StopIteration)
"""SystemExit and KeyboardInterrupt on a caller's thread are the caller's."""


@dataclass
class Plan:
    """Raises once, at the n-th operation; `fired` names the operation."""

    at: int
    error: type[BaseException]
    fired: str = ""
    _count: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pass_by(self, name: str) -> None:
        with self._lock:
            if self.fired or next(self._count) != self.at:
                return
            self.fired = name
        raise self.error(f"planned at {name}")


def _resolved(name: str) -> tuple[Any, str]:
    """Return the module or class, and the attribute, that a name below `promptguard` stands for."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            owner: Any = importlib.import_module("promptguard." + ".".join(parts[:length]))
            for part in parts[length:-1]:
                owner = getattr(owner, part)
            return owner, parts[-1]
    raise LookupError(name)


def _faulty(name: str, original: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(original):

        async def coroutine(*arguments: Any, **named: Any) -> Any:
            plan.pass_by(name)
            return await original(*arguments, **named)

        return coroutine

    def function(*arguments: Any, **named: Any) -> Any:
        plan.pass_by(name)
        return original(*arguments, **named)

    return function


@contextlib.contextmanager
def planned(names: Sequence[str], plan: Plan) -> Iterator[None]:
    """Have the n-th operation among `names` raise within this block."""
    with contextlib.ExitStack() as stack:
        for name in names:
            owner, attribute = _resolved(name)
            stack.enter_context(
                patch.object(owner, attribute, _faulty(name, getattr(owner, attribute), plan))
            )
        yield


# What the application does

_NUMBERS = itertools.count(1)


def provider() -> FakeProvider:
    """Return a provider that answers, refuses one model and knows another for shadows."""
    made = FakeProvider(
        {
            "gpt-4": lambda question: f"echo {question.text[-30:]}",
            "other": lambda question: f"echo {question.text[-30:]}",
            "refused": lambda _: Fault("status", 400),
            "broken": lambda _: Fault("status", 500),
        }
    )
    made.next_id = lambda: "fixed"  # type: ignore[method-assign]
    made.now = lambda: 0  # type: ignore[method-assign]
    return made


def _options(ledger: Path) -> dict[str, Any]:
    return {
        "ledger": ledger,
        "cache": "disk",
        "shadow": promptguard.Shadow(
            model="other",
            sample=1.0,
            repeat=0.5,
            budget=promptguard.Budget(calls_per_day=10**6, calls_per_minute=None),
        ),
        "replay": promptguard.Replay(after="1s", share=1.0),
        "seed": 1,
    }


def _questions() -> list[tuple[str, str]]:
    mark = f"{next(_NUMBERS):08d}"
    return [("gpt-4", f"a {mark}"), ("gpt-4", f"a {mark}"), ("refused", f"b {mark}"), ("broken", f"c {mark}")]


def _told(error: Exception) -> str:
    return f"{type(error).__name__} {getattr(error, 'status_code', '')}"


def _ask(client: Any, *, stream: bool) -> list[str]:
    seen = []
    for model, text in _questions():
        messages = [{"role": "user", "content": text}]
        try:
            made = client.chat.completions.create(
                model=model, messages=messages, stream=stream, temperature=0
            )
            if stream:
                seen.append(
                    "".join(chunk.choices[0].delta.content or "" for chunk in made if chunk.choices)[:7]
                )
            else:
                seen.append(made.choices[0].message.content[:7])
        except openai.APIError as error:
            seen.append(_told(error))
    return seen


async def _ask_async(client: Any, *, stream: bool) -> list[str]:
    seen = []
    for model, text in _questions():
        messages = [{"role": "user", "content": text}]
        try:
            made = await client.chat.completions.create(
                model=model, messages=messages, stream=stream, temperature=0
            )
            if stream:
                seen.append(
                    "".join([chunk.choices[0].delta.content or "" async for chunk in made if chunk.choices])[
                        :7
                    ]
                )
            else:
                seen.append(made.choices[0].message.content[:7])
        except openai.APIError as error:
            seen.append(_told(error))
    return seen


def application(url: str, ledger: Path | None, *, is_async: bool, stream: bool) -> list[str]:
    """Make a client, ask a few questions, close it; returns what was seen. Without a ledger: bare."""
    known: Any = openai.AsyncOpenAI if is_async else openai.OpenAI
    client = known(base_url=url, api_key="k", max_retries=0)
    if ledger is not None:
        promptguard.wrap(client, **_options(ledger))
    if not is_async:
        seen = _ask(client, stream=stream)
        client.close()
        return seen

    async def run() -> list[str]:
        found = await _ask_async(client, stream=stream)
        await client.close()
        return found

    return asyncio.run(run())


def pairs_in(ledger: Path) -> int:
    """Return the compared pairs of a ledger."""
    from promptguard.ledger.reading import reading

    with reading(ledger) as connection:
        found = connection.exec_driver_sql("SELECT count(*) FROM pair WHERE outcome = 'compared'")
        return int(found.scalar_one())


@dataclass
class Result:
    """What a sweep found."""

    faults: int = 0
    different: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    """operations that did not come up that often"""


def background_sweep(
    names: Sequence[str], errors: Sequence[type[BaseException]], url: str, ledger: Path, times: int = 2
) -> Result:
    """Let each operation of background threads fail at its first, second, ... time; look each time whether all goes on."""
    result = Result()
    expected = application(url, None, is_async=False, stream=False)
    for number, (name, error, at) in enumerate(itertools.product(names, errors, range(1, times + 1))):
        plan, directory = Plan(at, error), ledger / f"{error.__name__}{number}"  # threads of its own
        with planned([name], plan), patch.object(replaying, "POLL_SECONDS", 0.1):
            seen = application(url, directory, is_async=False, stream=False)
            promptguard.flush(1.5)
            if not plan.fired:
                time.sleep(1.2)  # a stored question is due
        told = f"{name} {error.__name__} {at}"
        result.faults += bool(plan.fired)
        if not plan.fired:
            result.silent.append(told)
            continue
        if seen != expected:
            result.different.append(f"{told}: {seen}")
        if not works_again(url, directory):
            result.dead.append(told)
    return result


def works_again(url: str, ledger: Path, seconds: float = 20.0) -> bool:
    """Whether a call that is made now is paired, committed and judged, and flush() says so."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            before = pairs_in(ledger)
        except promptguard.PromptGuardError:
            before = 0
        application(url, ledger, is_async=False, stream=False)
        if promptguard.flush(5.0) and pairs_in(ledger) > before:
            return True
        time.sleep(0.1)
    return False


def sweep(
    names: Sequence[str],
    error: type[BaseException],
    url: str,
    ledger: Path,
    *,
    is_async: bool = False,
    stream: bool = False,
    step: int = 1,
    most: int = 10**9,
    check_every: int = 25,
) -> Result:
    """Let the n-th operation fail, for n = 1, 1 + step, ... until there is no such operation, or `most` have failed."""
    result = Result()
    expected = application(url, None, is_async=is_async, stream=stream)
    for at in itertools.count(1, step):
        plan = Plan(at, error)
        with planned(names, plan):
            try:
                seen = application(url, ledger, is_async=is_async, stream=stream)
                promptguard.flush(0.5 if names is not CALLER else 0.0)
            except BaseException as raised:
                seen = [f"{type(raised).__name__}: {raised}"]
        if not plan.fired:
            return result
        result.faults += 1
        if seen != expected:
            result.different.append(f"{at} {plan.fired} {error.__name__}: {seen}")
        if result.faults % check_every == 0 and not works_again(url, ledger):
            result.dead.append(f"{at} {plan.fired} {error.__name__}")
        if result.faults >= most:
            return result
    return result
