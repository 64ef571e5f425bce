"""A fault at every n-th operation of ours: callers get what they get bare, and everything works again afterwards.

`python -m benchmarks.faults` sweeps all of it; here is what is quick.
"""

from __future__ import annotations

import logging

import pytest
from benchmarks.faults.sweep import (
    BACKGROUND,
    CALLER,
    Planned,
    background_sweep,
    provider,
    sweep,
    works_again,
)

from tests.marks import spread

WAYS = {
    "plain": (False, False),
    "stream": (False, True),
    "async": (True, False),
    "async stream": (True, True),
}
THREADS = [name for name in BACKGROUND if name.endswith(("._run", "._work", "._handle"))]
"""the bodies of threads, and what a task is handed to"""


@pytest.fixture(scope="module")
def url():
    logging.disable(logging.CRITICAL)
    with provider() as running:
        yield running.url
    logging.disable(logging.NOTSET)


@pytest.mark.sdk
@pytest.mark.parametrize("way", spread(WAYS, 2))
def test_a_fault_at_any_operation_on_a_callers_path_is_not_seen(way, url, guarded):
    is_async, stream = WAYS[way]
    step = 3 if way == "plain" else 7
    found = sweep(CALLER, Planned, url, guarded, is_async=is_async, stream=stream, step=step)
    assert found.different == []
    assert found.faults > 90 / step
    assert works_again(url, guarded)


@pytest.mark.sdk
@pytest.mark.parametrize("error", spread([MemoryError, StopIteration], 1))
def test_other_exceptions_are_not_seen_either(error, url, guarded):
    found = sweep(CALLER, error, url, guarded, step=9)
    assert (found.different, found.faults > 10) == ([], True)
    assert works_again(url, guarded)


@pytest.mark.sdk
@pytest.mark.parametrize("error", spread([SystemExit, KeyboardInterrupt, MemoryError], 1))
def test_threads_outlive_whatever_is_raised_in_them(error, url, guarded):
    found = background_sweep(THREADS, [error], url, guarded, times=1)
    assert (found.different, found.dead) == ([], [])
    assert found.faults >= len(THREADS) - 1


@pytest.mark.sdk
@pytest.mark.slow
@pytest.mark.parametrize("name", BACKGROUND)
def test_every_operation_in_the_background_may_fail_once(name, url, guarded):
    found = background_sweep([name], [Planned, SystemExit], url, guarded, times=1)
    assert (found.different, found.dead) == ([], [])
