"""The lifetime of one ledger's background work in this process, and what the caller's path may ask of it.

Nothing here opens a file on a caller's thread: threads of its own open the ledger, and wait for one that cannot be used.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections import deque
from collections.abc import Callable
from functools import partial

from promptguard.background.acting import Acting
from promptguard.background.alerting import Alerting
from promptguard.background.asker import Asker
from promptguard.background.canaries import Canaries
from promptguard.background.counting import tally, tell_trouble
from promptguard.background.delivery import Delivery
from promptguard.background.evaluating import Evaluator
from promptguard.background.following import Following
from promptguard.background.notices import Notices
from promptguard.background.pairing import Pairing
from promptguard.background.reasking import pair_prior
from promptguard.background.replay_pace import ReplayPace
from promptguard.background.replaying import Replaying, ask_again, bank_placebo
from promptguard.background.state_source import StateSource
from promptguard.background.storing import Storing
from promptguard.background.tasks import Task
from promptguard.core import events as ev
from promptguard.core.effects import Abandon, Job
from promptguard.core.options import Action, Budget, Channel, Drift
from promptguard.core.policy import State
from promptguard.core.streams import STORED
from promptguard.directories import Place
from promptguard.ledger.room import NOT_DRAINED, Room
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.ledger.writer import Writer
from promptguard.lifetime import activity
from promptguard.lifetime.error_counter import ErrorCounter
from promptguard.lifetime.shared import Shared, Use
from promptguard.runtime.finishing import finish_abandoned
from promptguard.shadow.budget import BudgetLimiter
from promptguard.shadow.worker import Worker
from promptguard.verdict.reasons import PROCESS_ENDED

LEDGER_WAIT = 5.0
"""Seconds that a sampled call's background work waits for a ledger that is being opened."""
LEAST_TO_WRITE = 0.6
"""Of the seconds that the end may take, those kept for committing; background answers get what is before."""

LAST_STORED = 0.2
"""Seconds that an end gives to answers which are to be stored, at least."""

SHARE_TO_COMMIT = 0.3
"""Of the time that flush() has, what is kept for committing while pairs wait for one before them."""
HELD_LOOK = 0.02

UNAVAILABLE = "ledger unavailable"

LEARN_SECONDS = 60.0
"""How often the groups that other processes made are read."""

log = logging.getLogger("promptguard")


class Background:
    """Worker, writer, evaluator and replays of one ledger; `state` is what verdicts have changed for later calls.

    Parameters: `place` of the ledger; `drift`, `actions`, `record_content` as given to wrap(); `queue` and `threads`
    of the worker; `wall` gives seconds since the Unix epoch.
    """

    def __init__(
        self,
        place: Place,
        drift: Drift,
        actions: tuple[Action, ...],
        *,
        record_content: bool | None,
        queue: int,
        threads: int,
        wall: Callable[[], float],
    ) -> None:
        self._options = (drift, actions, record_content)
        self._give_up = math.inf
        self.state = State()
        self.faults = ErrorCounter()
        self._given_up: deque[tuple[str, int, str]] = deque()
        """places of calls that ended by a fault of ours"""
        self.wall = wall
        self.listeners: list[Callable[[ev.Event], None]] = []
        self.on_groups: Callable[[list[str]], None] | None = None
        """told the groups that the ledger has"""
        self._learn_at = 0.0
        self._limiters: dict[tuple[str, Budget], BudgetLimiter] = {}
        self.ledger = Ledger(place, tell=tell_trouble)
        holder = uuid.uuid4().hex
        self.notices = Notices(self.ledger, wall)
        self.replay_pace = ReplayPace(self.ledger, self.notices, wall)
        self.delivery = Delivery(self.ledger, holder, self.faults.add)
        self.alerting = Alerting(self.ledger, holder, self.faults.add, wall)
        self.alerting.use(_channels(actions))
        self.acting = Acting(self.ledger, self.state, actions, wall, self.delivery, self.alerting.wake)
        self.evaluator = Evaluator(
            self.ledger,
            drift,
            self.acting,
            holder=holder,
            emit=self.emit,
            on_fault=self.faults.add,
            before_end=self._finish,
            each_turn=self._tidy,
            wall=wall,
        )
        self._room = Room(self.ledger)
        self.writer = Writer(self.ledger, self.evaluator.wake, self.faults.add, self._is_full)
        self.following = Following(self.faults.add)
        self.pairing = Pairing(
            self.ledger,
            self.writer,
            self.acting,
            following=self.following,
            emit=self.emit,
            record_content=record_content is True,
            most_open=lambda: self.worker.capacity,
            wall=wall,
        )
        self.worker: Worker[Task] = Worker(
            self._handle,
            self.faults.add,
            size=queue,
            threads=threads,
            weigh=_task_bytes,
            failed=lambda task: self._lose(task, "fault"),  # or the pairs behind it would wait for minutes
        )
        self.replaying = Replaying(
            self.ledger,
            self.pairing,
            self.worker,
            on_fault=self.faults.add,
            wall=wall,
            refused=self.evaluator.refusals.note,
            gives_way=self.evaluator.gives_way,
        )
        self.storing = Storing(
            self.ledger,
            self.replaying.sources,
            self.pairing.places,
            why_not=self._why_not_kept,
            weigh=_task_bytes,
            on_fault=self.faults.add,
            wall=wall,
        )
        self.canaries = Canaries(self.ledger, self.pairing, self.worker, on_fault=self.faults.add, wall=wall)
        self.state_source = StateSource(
            self.ledger,
            holder,
            budgets=lambda: list(self._limiters),
            looked=lambda: self.evaluator.looked_at,
            queue=lambda: self.worker.waiting,
            wall=wall,
            on_fault=self.faults.add,
        )
        """what gauges show of this ledger"""
        self.evaluator.start()

    def reconfigure(
        self, drift: Drift, actions: tuple[Action, ...], record_content: bool | None, queue: int, threads: int
    ) -> None:
        """Take the settings of a client that names the same ledger: the newest hold, for all of them."""
        self.worker.grow(queue, threads)
        before, self._options = self._options, (drift, actions, record_content)
        if before == self._options:
            return
        log.info(
            "%s: the settings of the newest wrap() hold for every client of this ledger", self.ledger.place
        )
        self.acting.use(actions)
        # A client without channels leaves those of the others: who shares a ledger must not be silenced by it.
        self.alerting.use(_channels(actions) or self.alerting.channels)
        self.pairing.record_content = record_content is True
        if drift != before[0]:
            self.evaluator.use(drift)

    def wait_open(self, timeout: float) -> bool:
        """Wait until the ledger is open and what it noted is read; False after `timeout` seconds."""
        return self.evaluator.ready.wait(timeout)

    def limiter(self, purpose: str, budget: Budget) -> BudgetLimiter:
        """Return what limits the calls of a budget: clients that give equal budgets share one."""
        key = (purpose, budget)
        if key not in self._limiters:
            self._limiters[key] = BudgetLimiter(
                budget, self.ledger, purpose, self.wall, note=self.writer.spend
            )
        return self._limiters[key]

    def _handle(self, task: Task) -> None:
        reason = self._why_not_kept()
        if reason == UNAVAILABLE or (reason is not None and task.run is None):
            self._lose(task, reason)  # nothing is paid for that would not be kept
        elif task.job is not None:
            self._pair(task.job, task.asker)
        elif task.banked is not None:
            ask_again(self.pairing, task.banked, task.asker)
        elif task.run is not None:
            task.run()

    def _pair(self, job: Job, asker: Asker) -> None:
        if job.prior is not None:
            pair_prior(self.pairing, job)
        activity.let_call_leave()
        self.notices.look(
            job.facts.model, asker.shadow, asker.replay, self._options[1], elsewhere=asker.is_elsewhere
        )
        if asker.replay is not None:
            asker.client  # noqa: B018 - made now: until then it holds the application's client, and may wait to be stored
        control = self.pairing.pair(job, asker)
        if job.placebo and not control.error:
            bank_placebo(self.ledger, self.replaying.sources, self.pairing, job, asker, self.wall())
        self.pairing.places.leave(job.places)

    def _learn_groups(self) -> None:
        """Tell the caller's path now and then which groups the ledger has, of other processes too."""
        now = time.monotonic()
        if self.on_groups is not None and now >= self._learn_at:
            self._learn_at = now + LEARN_SECONDS
            self.on_groups(self.ledger.counted("group"))

    def _why_not_kept(self) -> str | None:
        if not self._is_ledger_there():
            return UNAVAILABLE
        return NOT_DRAINED if self._is_full() else None

    def _is_ledger_there(self) -> bool:
        """Whether the ledger can be used: nothing is asked, and paid for, that could not be kept."""
        self.wait_open(LEDGER_WAIT)
        try:
            self.ledger.open()
        except LedgerUnavailable:
            return False
        return True

    def _is_full(self) -> bool:
        """Whether this process leaves its pairs to others, and they do not take them."""
        return self._options[0].evaluate == "never" and self._room.is_full()

    def _lose(self, task: Task, reason: str) -> None:
        if task.job is not None:
            self.pairing.places.drop(task.job.places, task.job.group, reason)
        elif task.banked is not None:
            lost = self.pairing.lost(task.banked.stream, task.banked.group, "dropped", reason)
            self.pairing.places.settle(task.banked.stream, task.banked.slot, lost)

    def take_places(
        self, asker: Asker, streams: tuple[str, ...], group: str, clusters: tuple[str, ...]
    ) -> dict[str, int]:
        """Give a sampled call its places; none where there is no room for it. What it is refused is counted."""
        return self.pairing.places.take(asker, streams, group, clusters)

    def offer(self, job: Job, asker: Asker) -> None:
        """Take a sampled call: to be paired and stored as it was drawn for, and in any case to note who answered it."""
        has_room = self.pairing.places.answered(job.places)
        if STORED in job.places:
            job = self.storing.take(job, asker)
        if not job.places:
            return
        reason = self.worker.offer(Task(asker, job=job), has_room=has_room)
        if reason is not None:
            self.refuse(job, PROCESS_ENDED if reason == "closed" else reason)

    def refuse(self, job: Job, reason: str) -> None:
        """Give up the places of a call that has its answer, as a lost one.

        That is judged: calls that are answered at length come late, and would be missing more often.
        """
        self.pairing.places.refuse(job, reason)

    def abandon(self, effect: Abandon) -> None:
        """Give up the place of a sampled call that has no answer."""
        self.pairing.places.abandon(effect)

    def give_up(self, stream: str, slot: int, group: str) -> None:
        """Give up a place soon. Only notes it: flows may end where they are collected, within any lock."""
        self._given_up.append((stream, slot, group))

    def _settle_given_up(self) -> None:
        """Settle the calls that ended where nothing could be done about it."""
        finish_abandoned()
        while self._given_up:
            try:
                stream, slot, group = self._given_up.popleft()
            except IndexError:
                return  # another thread was first
            self.pairing.places.drop({stream: slot}, group, "fault")

    def listen(self, listener: Callable[[ev.Event], None], observer: ev.CallObserver) -> None:
        """Tell a client's telemetry what happens; one is enough, as all record with the same providers."""
        if not self.listeners:
            self.listeners.append(listener)
            self.following.observer = observer

    def emit(self, event: ev.Event) -> None:
        """Tell everyone who listens (telemetry of the wrapped clients), and count."""
        self.tally(event)
        for listener in self.listeners:
            try:
                listener(event)
            except BaseException as error:  # noqa: BLE001 - telemetry must not end a background thread
                self.faults.add("telemetry", error)

    def tally(self, event: ev.Event) -> None:
        """Add an event to the ledger's counters."""
        tally(self.writer, event)
        self.evaluator.refusals.hear(event)

    def note_sighting(self, who: tuple[str, ...], at: float) -> None:
        """Record who answered a call that is in no pair."""
        self.writer.note_sighting(who, at)

    def _tidy(self) -> None:
        self._settle_given_up()
        self.pairing.places.expire()
        self._learn_groups()
        self.replay_pace.look(self._options[0])
        self.notices.write()
        self.alerting.register()

    def flush(self, timeout: float) -> bool:
        """Wait until every offered call is paired, committed and judged, and every alarm was given to the user's functions.

        Where this process judges nothing (`evaluate="never"`): until each is paired, and its pair outlives the process.
        False where `timeout` seconds are not enough.
        """
        deadline = time.monotonic() + timeout

        def left() -> float:
            return max(0.0, deadline - time.monotonic())

        self._settle_given_up()
        done = self.worker.flush(timeout)
        paired = done and self._is_order_filled(deadline - timeout * SHARE_TO_COMMIT)
        paired = self.storing.flush(max(0.0, left() - timeout * SHARE_TO_COMMIT)) and paired
        if self._options[0].evaluate == "never":
            return self.writer.flush_pairs(left()) and paired and not self.pairing.has_lost_at_end
        # What is there is committed and judged, also where something else is waited for in vain.
        rest = (self.writer.flush, self.evaluator.flush, self.delivery.flush, self.alerting.flush)
        return all([paired, *(flush(left()) for flush in rest)]) and not self.pairing.has_lost_at_end

    def _is_order_filled(self, deadline: float) -> bool:
        """Wait until no pair waits for one before it: for a stream that the application still reads, for instance."""
        while self.pairing.places.held and time.monotonic() < deadline:
            time.sleep(HELD_LOOK)
            self._settle_given_up()
        return not self.pairing.places.held

    def stop(self, deadline: float = math.inf) -> None:
        """Begin to end: finish what was taken, commit it, judge it, give the lease back. Returns at once."""
        self._give_up = min(self._give_up, deadline - LEAST_TO_WRITE)
        self.state_source.close()
        self.replaying.stop()
        self.worker.stop()
        self.evaluator.stop()
        self.delivery.stop()

    def join(self, deadline: float) -> None:
        """Wait for the end, until `deadline` (monotonic seconds) at most; answers that are not there by then are lost.

        Pairs that a database has not acknowledged by then wait on this machine.
        """
        self._give_up = min(self._give_up, deadline - LEAST_TO_WRITE)
        self.evaluator.join(deadline)
        if time.monotonic() >= deadline:
            # the evaluator, who does so as it ends, waits for a database that says nothing
            self._end_pairs(lambda: deadline)
            self.writer.leave()
        self.alerting.stop()  # not before: the last turn of the evaluator may ring
        self.alerting.join(deadline)
        self.delivery.join(deadline)
        self.ledger.close()

    def _finish(self) -> None:
        """Let the calls in hand end, then commit; in the evaluator's thread, as its last turn comes after."""
        while not (self.worker.is_idle and self.replaying.is_over) and time.monotonic() < self._give_up:
            time.sleep(0.01)
        self._settle_given_up()
        least = time.monotonic() + LAST_STORED
        self._end_pairs(lambda: max(self._give_up, least))
        self.writer.stop()
        self.writer.join(time.monotonic() + 5.0)

    def _end_pairs(self, until: Callable[[], float]) -> None:
        """Count what is no pair yet, unless that was done before, and store what is to be, until a moment. Never raises."""
        for end in (self.pairing.places.end, partial(self.storing.end, until)):
            try:
                end()
            except Exception as error:  # noqa: BLE001 - what is there is written, whatever cannot be counted
                self.faults.add("evaluator", error)

    def close(self, timeout: float = 1.0) -> None:
        """End now, in at most `timeout` seconds: for tests."""
        self.stop()
        self.join(time.monotonic() + timeout)
        backgrounds.discard(self)


def _channels(actions: tuple[Action, ...]) -> tuple[Channel, ...]:
    return tuple(action for action in actions if isinstance(action, Channel))


def _task_bytes(task: Task) -> int:
    job = task.job
    if job is None:
        return 0
    prior = job.prior.size if job.prior is not None else 0
    return len(job.request.body) + sum(map(len, job.body.chunks)) + prior


_faults = ErrorCounter()
backgrounds: Shared[Place, Background] = Shared("background", _faults.add)
"""Every Background of this process, by the ledger's place."""


def acquire(
    place: Place,
    drift: Drift,
    actions: tuple[Action, ...],
    *,
    record_content: bool | None,
    queue: int,
    threads: int,
    wall: Callable[[], float],
) -> Use[Background]:
    """Return a hold on the Background of a ledger, made on first use; the newest settings hold."""
    return backgrounds.acquire(
        place,
        lambda: Background(
            place, drift, actions, record_content=record_content, queue=queue, threads=threads, wall=wall
        ),
        join=lambda known: known.reconfigure(drift, actions, record_content, queue, threads),
    )


def open_backgrounds() -> tuple[Background, ...]:
    """Return every Background of this process."""
    return backgrounds.living()
