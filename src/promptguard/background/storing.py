"""Answers on their way to the bank: in the order in which their calls were sampled, in a thread of their own.

Which answers wait how long, and which give way to others, depends on what is stored already. Were that those with short
answers, as these come first, it would depend on lengths. In a thread of their own they wait for no second answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from promptguard.background.asker import Asker
from promptguard.background.places import Places
from promptguard.background.replay_sources import Sources
from promptguard.background.replaying import store
from promptguard.background.tasks import Task
from promptguard.core.effects import Job
from promptguard.core.streams import STORED
from promptguard.ledger.store import Ledger
from promptguard.lifetime.threads import OnFault
from promptguard.shadow.reorder import MOST_SLOTS
from promptguard.shadow.worker import Worker
from promptguard.verdict.reasons import PROCESS_ENDED


class Storing:
    """Keeps the answers of one ledger's calls for replay, and that of those which had none. Thread-safe.

    `why_not` returns why nothing can be stored at this moment, None where it can; `weigh` the bytes of a task.
    """

    def __init__(
        self,
        ledger: Ledger,
        sources: Sources,
        places: Places,
        *,
        why_not: Callable[[], str | None],
        weigh: Callable[[Task], int],
        on_fault: OnFault,
        wall: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._sources = sources
        self._places = places
        self._why_not = why_not
        self._wall = wall
        self._on_fault = on_fault
        self._has_ended = False
        self._worker: Worker[Task] = Worker(
            self._store,
            on_fault,
            name="storing",
            size=MOST_SLOTS,
            threads=1,
            weigh=weigh,
            failed=lambda task: self._lose(task, "dropped", "fault"),
        )

    def take(self, job: Job, asker: Asker) -> Job:
        """Have a call stored once those before it are; returns what else is to be done with it."""
        slot = job.places[STORED]
        job = replace(job, places={name: job.places[name] for name in job.places if name != STORED})
        task = Task(asker, job=replace(job, places={}))
        reason = self._worker.hold(task)
        order = self._places.order(STORED)
        if reason == "queue_bytes":
            if order.held:  # not those that wait are lost, but what they wait for
                order.give_up_front(slot)
            reason = self._worker.hold(task, over=True)
        if reason is not None:
            self._places.drop({STORED: slot}, job.group, _ended(reason), "control_error")
        elif self._places.settle(STORED, slot, partial(self._offer, task)):
            return job
        else:
            self._worker.let_go(task)
        return replace(job, placebo=False)  # it is asked of stored calls alone

    def _offer(self, task: Task) -> None:
        try:
            reason = self._worker.offer(task, is_held=True)
        except Exception as error:  # noqa: BLE001 - those behind it must have their turn
            self._on_fault("storing", error)
            reason = "fault"
        if reason is not None:
            self._lose(task, "control_error", _ended(reason))

    def _store(self, task: Task) -> None:
        reason = self._why_not()
        if reason is not None:
            self._lose(task, "dropped", reason)
        elif task.job is not None:
            store(self._ledger, self._sources, task.job, task.asker, self._wall())

    def _lose(self, task: Task, outcome: str, reason: str) -> None:
        if task.job is not None:
            self._places.tell(self._places.lost(STORED, task.job.group, outcome, reason))

    @property
    def is_idle(self) -> bool:
        """Whether no answer waits for the ledger; some may wait for those before them."""
        return self._worker.is_idle

    def flush(self, timeout: float) -> bool:
        """Wait until every answer whose turn has come is stored; False when that took longer than `timeout` seconds."""
        return self._worker.flush(timeout)

    def end(self, until: Callable[[], float]) -> None:
        """Store what waits until a moment (monotonic seconds), then count the rest as lost, and what comes later.

        `until` is asked again and again: who ends everything may say only later how long that may take.
        """
        while not (self.is_idle or self._has_ended) and time.monotonic() < until():
            time.sleep(0.01)  # what waited for others has its turn now
        if self._has_ended:
            return
        self._has_ended = True
        for task in self._worker.drain():
            self._lose(task, "control_error", PROCESS_ENDED)
        self._worker.stop()


def _ended(reason: str) -> str:
    return PROCESS_ENDED if reason == "closed" else reason
