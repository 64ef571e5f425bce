"""Work done ahead, a few items at a time, and handed out in order, so that answers are not waited for one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def ahead(items: Iterable[Item], work: Callable[[Item], Done], at_once: int) -> Generator[Done]:
    """Yield what `work` returns of each item, in their order; at most `at_once` are begun and not yet handed out.

    Raises what `work` raises, at that item's turn. Once closed, nothing more is begun.
    """
    if at_once <= 1:
        for item in items:
            yield work(item)
        return
    begun: deque[Future[Done]] = deque()
    waiting: Iterator[Item] = iter(items)
    patient = True
    workers = ThreadPoolExecutor(at_once, thread_name_prefix="promptguard-certify")
    try:
        while True:
            begun.extend(workers.submit(work, item) for item in islice(waiting, at_once - len(begun)))
            if not begun:
                return
            yield begun.popleft().result()
    except KeyboardInterrupt:  # who interrupts does not want to wait
        patient = False
        raise
    finally:
        # what is under way is paid for: it is waited for, so that it is counted
        workers.shutdown(wait=patient, cancel_futures=True)
