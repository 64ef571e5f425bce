"""The lifetime of one ledger's background work in this process, and what the caller's path may ask of it."""

from __future__ import annotations

import atexit
import os
import time
import uuid
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from promptguard.background.acting import Acting
from promptguard.background.counting import tally
from promptguard.background.evaluating import Evaluator
from promptguard.background.pairing import Pairing
from promptguard.background.reasking import pair_prior
from promptguard.background.replaying import Replaying, ask_again, bank, bank_placebo
from promptguard.background.tasks import Task
from promptguard.core import events as ev
from promptguard.core.effects import Forfeit, Job
from promptguard.core.model import Reading
from promptguard.core.options import Action, Drift
from promptguard.core.policy import State
from promptguard.errors import ConfigurationError
from promptguard.faults import Faults
from promptguard.ledger.store import Ledger
from promptguard.ledger.writer import Writer
from promptguard.shadow.worker import Worker

if TYPE_CHECKING:
    from promptguard.guarding import Guard

EXIT_SECONDS = 1.0
"""How long leaving the process may wait for pairs that are nearly done; calls in flight are given up."""

LEARN_SECONDS = 60.0
"""How often the groups that other processes made are read."""

_open: dict[Path, Background] = {}


class Background:
    """Worker, writer, evaluator and replays of one ledger; `state` is what verdicts have changed for later calls.

    Raises ConfigurationError at construction when the directory cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        drift: Drift,
        actions: tuple[Action, ...],
        *,
        record_content: bool | None,
        queue: int,
        threads: int,
        wall: Callable[[], float],
    ) -> None:
        self.options = (drift, actions, record_content)
        self.pid = os.getpid()
        self.state = State()
        self.faults = Faults()
        self.wall = wall
        self.listeners: list[Callable[[ev.Event], None]] = []
        self._guards: weakref.WeakSet[Guard] = weakref.WeakSet()
        self.on_groups: Callable[[list[str]], None] | None = None
        """told the groups that the ledger has"""
        self._learn_at = 0.0
        self.ledger = Ledger(directory)
        self.acting = Acting(self.ledger, self.state, actions, wall)
        self.evaluator = Evaluator(
            self.ledger,
            drift,
            self.acting,
            holder=uuid.uuid4().hex,
            emit=self.emit,
            on_fault=self.faults.add,
            wall=wall,
        )
        self.writer = Writer(self.ledger, self.evaluator.wake, self.faults.add)
        self.pairing = Pairing(
            self.ledger,
            self.writer,
            self.acting,
            bank=self._bank,
            emit=self.emit,
            record_content=record_content is True,
            wall=wall,
        )
        self.worker: Worker[Task] = Worker(
            self._handle, self.faults.add, size=queue, threads=threads, weigh=_task_bytes
        )
        self.replaying = Replaying(
            self.ledger, self.pairing, self.worker, on_fault=self.faults.add, wall=wall
        )
        self.evaluator.start()

    @classmethod
    def open(
        cls, directory: str | Path, drift: Drift, actions: tuple[Action, ...], **rest: object
    ) -> Background:
        """Return this process's Background of a directory, made on first use.

        Raises ConfigurationError when another client of this process uses the ledger with other drift settings.
        """
        path = Path(directory).resolve()
        known = _open.get(path)
        if known is not None and known.pid == os.getpid():
            if known.options != (drift, actions, rest.get("record_content")):
                raise ConfigurationError(
                    f"ledger={str(directory)!r} is in use here with other drift=, on_drift= or record_content=: "
                    "give both clients the same, or each its own ledger"
                )
            return known
        made = cls(Path(directory), drift, actions, **rest)  # type: ignore[arg-type]
        _open[path] = made
        atexit.register(_close_at_exit, weakref.ref(made))
        return made

    def _handle(self, task: Task) -> None:
        self.pairing.expire()
        self._learn_groups()
        if task.job is not None and task.job.prior is not None:
            pair_prior(self.pairing, task.job)
        elif task.job is not None:
            self.pairing.pair(task.job, task.guard)
        elif task.banked is not None:
            ask_again(self.pairing, task.banked, task.guard)

    def _learn_groups(self) -> None:
        """Tell the caller's path now and then which groups the ledger has, of other processes too."""
        now = time.monotonic()
        if self.on_groups is not None and now >= self._learn_at:
            self._learn_at = now + LEARN_SECONDS
            self.on_groups(self.ledger.counted("group"))

    def _bank(self, job: Job, control: Reading, guard: Guard) -> None:
        bank(self.ledger, job, control, guard, self.wall())
        if job.placebo:
            bank_placebo(self.ledger, self.pairing, job, guard, self.wall())

    def open_ticket(self, stream: str, group: str, clusters: tuple[str, ...]) -> int | None:
        """Give a sampled call its place in the order of a stream's pairs; None when a call it depends on has had one."""
        return self.pairing.open(stream, group, clusters)

    def offer(self, job: Job, guard: Guard) -> None:
        """Take a sampled call for pairing; a full queue gives its places up, counted."""
        reason = self.worker.offer(Task(guard=guard, job=job))
        if reason is not None:
            self.pairing.drop(job, reason)

    def forfeit(self, effect: Forfeit) -> None:
        """Give up the place of a sampled call that has no answer."""
        self.pairing.forfeit(effect)

    def serve(self, guard: Guard) -> None:
        """Tell this client's telemetry what happens from now on, and ask its stored requests again."""
        self._guards.add(guard)
        if (
            guard.telemetry is not None and not self.listeners
        ):  # one is enough: all record with the same providers
            self.listeners.append(guard.telemetry.record)
        if guard.settings.replay is not None:
            self.replaying.serve(guard)

    def leave(self, guard: Guard) -> None:
        """Forget a client that was unwrapped; what it has in the queue is still done."""
        self.replaying.leave(guard)

    def emit(self, event: ev.Event) -> None:
        """Tell everyone who listens (telemetry of the wrapped clients), and count."""
        self.tally(event)
        for listener in self.listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - telemetry must not end a background thread
                self.faults.add("telemetry", error)

    def tally(self, event: ev.Event) -> None:
        """Add an event to the ledger's counters."""
        tally(self.writer, event)

    def note_sighting(self, who: tuple[str, ...], at: float) -> None:
        """Record who answered a call that is in no pair."""
        self.writer.note_sighting(who, at)

    def flush(self, timeout: float) -> bool:
        """Wait until every offered call is paired, committed and judged; False after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        return (
            self.worker.flush(timeout)
            and self.writer.flush(max(0.0, deadline - time.monotonic()))
            and self.evaluator.flush(max(0.0, deadline - time.monotonic()))
        )

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Stop: commit what is paired, give the lease back, close files. Safe to call twice."""
        self.replaying.close()
        self.worker.close()
        self.writer.close(timeout / 2)
        self.evaluator.close(timeout / 2)
        self.ledger.close()
        for guard in list(self._guards):
            try:
                guard.close_twin()
            except Exception as error:  # noqa: BLE001 - leaving must not fail
                self.faults.add("close", error)
        for path, known in list(_open.items()):
            if known is self:
                del _open[path]


def _close_at_exit(reference: weakref.ref[Background]) -> None:
    background = reference()
    if background is not None and background.pid == os.getpid():
        background.close()


def _forget_in_child() -> None:
    # Threads, locks and connections of the parent are not the child's; a new Background is made on the next wrap().
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def _task_bytes(task: Task) -> int:
    job = task.job
    if job is None:
        return 0
    prior = job.prior.size if job.prior is not None else 0
    return len(job.request.body) + sum(map(len, job.body.chunks)) + prior


def open_backgrounds() -> tuple[Background, ...]:
    """Return every Background of this process."""
    return tuple(background for background in _open.values() if background.pid == os.getpid())
