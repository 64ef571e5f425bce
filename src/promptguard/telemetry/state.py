"""State is a gauge: what a ledger knows now, read when metrics are collected, so that a restart forgets nothing.

Counters here are the ledger's own sums as well: their first value after a restart is the true one, and the first alarm is
a step from 0 to 1, which `increase()` sees.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from promptguard.core.ledger_state import STANDINGS, LedgerState, PromptState
from promptguard.telemetry import semconv as name
from promptguard.telemetry.groups import split_group

MOST_REASONS = 100
"""Reasons of losses, and models with savings, that have a series of their own; the rest is one, `_other`."""
OTHER = "_other"

Observations = Iterator[Observation]


class StateSource(Protocol):
    """Where the state of one ledger comes from. Nothing of it raises or waits."""

    name: str
    """the ledger's name"""
    wall: Callable[[], float]
    """seconds since the Unix epoch"""

    @property
    def is_open(self) -> bool:
        """Whether this process may tell it."""

    @property
    def queue_size(self) -> int:
        """Calls of this process that wait to be paired."""

    @property
    def evaluator_age(self) -> float:
        """Seconds since the evaluator last looked."""

    def state(self) -> LedgerState | None:
        """Return the state; None where another process tells it."""


class StateGauges:
    """Observable instruments over the ledgers that `watch` was given."""

    def __init__(self, meter: Meter) -> None:
        self._sources: weakref.WeakSet[StateSource] = weakref.WeakSet()
        self._labels: dict[str, None] = {}
        """reasons and models that have a series: kept, as a counter must not move to another series"""
        gauge, counter = meter.create_observable_gauge, meter.create_observable_counter
        for create, metric, observe in (
            (gauge, name.DRIFT_STATUS, _statuses),
            (gauge, name.EVIDENCE, _of_prompts(lambda prompt, _now: prompt.log10_evidence)),
            (gauge, name.THRESHOLD, _of_prompts(lambda prompt, _now: prompt.log10_threshold)),
            (gauge, name.HIDDEN_SHIFT, _of_prompts(lambda prompt, _now: prompt.hidden_shift)),
            (gauge, name.LAST_PAIR_AGE, _of_prompts(_age)),
            (gauge, name.STRADDLING_PAIRS, _of_prompts(lambda prompt, _now: prompt.pairs_of_last_day)),
            (counter, name.ALARMS, _of_prompts(lambda prompt, _now: prompt.alarms)),
            (counter, name.LOSSES, self._losses),
            (gauge, name.BUDGET_LEFT, _budget_usd),
            (gauge, name.BUDGET_CALLS_LEFT, _budget_calls),
            (counter, name.COST, _costs),
            (counter, name.CACHE_SAVED, self._savings),
            (gauge, name.EVALUATOR_AGE, _evaluator_age),
            (gauge, name.QUEUE_SIZE, _queue),
        ):
            told = name.METRICS[metric]
            create(metric, [self._callback(observe)], told.unit, told.description)

    def watch(self, source: StateSource) -> None:
        """Show the state of a ledger for as long as `source` lives and is open."""
        self._sources.add(source)

    def _callback(
        self, observe: Callable[[StateSource], Observations]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def called(_options: CallbackOptions) -> list[Observation]:
            return [each for source in list(self._sources) if source.is_open for each in observe(source)]

        return called

    def _losses(self, source: StateSource) -> Observations:
        state = source.state()
        sums: dict[tuple[str, str, str], int] = {}
        for lost in state.losses if state else ():
            place = (lost.stream, lost.outcome, self._label(lost.reason))
            sums[place] = sums.get(place, 0) + lost.pairs
        for (stream, outcome, reason), pairs in sums.items():
            labels = {name.STREAM: stream, name.PAIR_OUTCOME: outcome, name.SKIPPED_REASON: reason}
            yield Observation(pairs, {name.LEDGER: source.name, **labels})

    def _savings(self, source: StateSource) -> Observations:
        state = source.state()
        sums: dict[str, float] = {}
        for model, usd in state.saved.items() if state else ():
            label = self._label(model)
            sums[label] = sums.get(label, 0.0) + usd
        for model, usd in sums.items():
            yield Observation(usd, {name.LEDGER: source.name, name.REQUEST_MODEL: model})

    def _label(self, text: str) -> str:
        if text in self._labels or len(self._labels) < MOST_REASONS:
            self._labels[text] = None
            return text
        return OTHER


def _attributes(source: StateSource, prompt: PromptState) -> dict[str, str]:
    found = {name.LEDGER: source.name, name.STREAM: prompt.stream}
    if prompt.group is not None:
        found[name.PROMPT_NAME], version = split_group(prompt.group)
        if version is not None:
            found[name.PROMPT_VERSION] = version
    return found


def _of_prompts(
    figure: Callable[[PromptState, float], float | None],
) -> Callable[[StateSource], Observations]:
    """Return what observes one figure of every prompt; None is not observed."""

    def observe(source: StateSource) -> Observations:
        state, now = source.state(), source.wall()
        for prompt in state.prompts if state else ():
            value = figure(prompt, now)
            if value is not None:
                yield Observation(value, _attributes(source, prompt))

    return observe


def _age(prompt: PromptState, now: float) -> float | None:
    return None if prompt.last_pair_at is None else max(0.0, now - prompt.last_pair_at)


def _statuses(source: StateSource) -> Observations:
    state = source.state()
    for prompt in state.prompts if state else ():
        attributes = _attributes(source, prompt)
        for standing in STANDINGS:
            why = (
                {name.UNMEASURED_REASON: prompt.reason} if standing == "unmeasured" and prompt.reason else {}
            )
            holds = int(standing == prompt.standing)
            yield Observation(holds, {**attributes, name.STATUS: standing, **why})


def _budget_usd(source: StateSource) -> Observations:
    state = source.state()
    for purpose, left in state.budgets.items() if state else ():
        if left.usd is not None:
            yield Observation(left.usd, {name.LEDGER: source.name, name.PURPOSE: purpose})


def _budget_calls(source: StateSource) -> Observations:
    state = source.state()
    for purpose, left in state.budgets.items() if state else ():
        if left.calls is not None:
            yield Observation(left.calls, {name.LEDGER: source.name, name.PURPOSE: purpose})


def _costs(source: StateSource) -> Observations:
    state = source.state()
    for stream, usd in state.spent.items() if state else ():
        yield Observation(usd, {name.LEDGER: source.name, name.ROLE: stream})


def _evaluator_age(source: StateSource) -> Observations:
    if source.state() is not None:
        yield Observation(source.evaluator_age, {name.LEDGER: source.name})


def _queue(source: StateSource) -> Observations:
    yield Observation(source.queue_size, {name.LEDGER: source.name})
