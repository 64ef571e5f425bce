"""Canaries: pinned questions that are asked on a schedule; a source of tasks beside `replaying`.

A round takes some stored answers of a question, the oldest, asks it as often again and pairs them; then it asks once more
and stores these answers for later rounds, twice as many until the bank is full. So each stored answer is compared once, and
what is stored and when does not depend on what answers say: the null of a replay, with days between the two sides.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from promptguard.background.following import Purpose
from promptguard.background.replaying import answer_document, hand_over, request_of
from promptguard.background.stored_facts import restored_facts
from promptguard.background.tasks import Task
from promptguard.core.model import Headers
from promptguard.ledger import canaries as kept
from promptguard.ledger.rows import BankedRow, StoredRow
from promptguard.ledger.store import Ledger
from promptguard.lifetime.threads import OnFault
from promptguard.shadow.retry import with_retries

if TYPE_CHECKING:
    from promptguard.background.asker import Asker
    from promptguard.background.pairing import Pairing
    from promptguard.shadow.worker import Worker

JITTER = 0.1
"""Part of the time between two rounds by which one may be late: questions of many pins must not come at one moment."""
_BUSY = re.compile("status_(408|409|429|5..)|connection|timeout")


class Canaries:
    """Asks the pins of one ledger that are due, through one asker. Not thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        pairing: Pairing,
        worker: Worker[Task],
        *,
        on_fault: OnFault,
        wall: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._ledger = ledger
        self._pairing = pairing
        self._worker = worker
        self._on_fault = on_fault
        self._wall = wall
        self._draw = draw
        self._late: dict[str, tuple[int, float]] = {}
        """id → (round, seconds that it may be late)"""

    def look(self, asker: Asker, origin: str, who: Headers, *, due: bool = True) -> int:
        """Begin a round of each pin of the server at `origin` that is due; returns how many began.

        `due` false: of each pin, whenever its last round was. Raises LedgerUnavailable.
        """
        with self._ledger.reading() as connection:
            known = kept.pins(connection)
        now, began, planned = self._wall(), 0, self._worker.waiting
        for pin in known:
            if pin.question["origin"] != origin or (
                due and now < pin.asked_at + pin.every + self._jitter(pin)
            ):
                continue
            # A stored answer that is taken and then refused by a cap would be lost: a round waits until it has room.
            room, needed = asker.replay_limiter.left(), pin.most_calls
            if room is not None and room < planned + needed:
                break
            planned += needed
            claimed = kept.claim(self._ledger, pin.id, now, due=due)
            if claimed is not None:
                began += 1
                self._begin(claimed, asker, who, now)
        return began

    def _jitter(self, pin: kept.Pin) -> float:
        number, late = self._late.get(pin.id, (-1, 0.0))
        if number != pin.rounds:
            late = self._draw() * JITTER * pin.every if pin.asked_at else 0.0
            self._late[pin.id] = pin.rounds, late
        return late

    def _begin(self, pin: kept.Pin, asker: Asker, who: Headers, now: float) -> None:
        taken = kept.take_answers(self._ledger, pin.source, now - pin.after, pin.answers)
        for row in taken:
            slot = self._pairing.order(kept.STREAM).open(row.group, "turn")
            reason = hand_over(self._worker, row, slot, asker, who, partial(self._on_fault, "canary"))
            if reason is not None:
                self._lose(row, slot, reason)
        with self._ledger.reading() as connection:
            room = pin.room - kept.stored(connection).get(pin.source, 0)
        for _ in range(min(2 * pin.answers, room)):
            self._worker.offer(Task(asker, run=partial(self._store, pin, asker, who)))

    def _store(self, pin: kept.Pin, asker: Asker, who: Headers) -> None:
        """Ask once more, and keep the answer for a later round."""
        request = request_of(pin.question, who)
        facts, _ = restored_facts(pin.question, request)
        if facts is None:
            raise ValueError("a pinned question that its protocol cannot read")
        row: BankedRow = {
            "stream": kept.STREAM,
            "model": pin.model,
            "group": pin.group,
            "clusters": "",
            "at": self._wall(),
            "due": 0.0,
            "call": 0,
            "source": pin.source,
            "question": json.dumps(pin.question).encode(),
            "answer": b"",
        }
        reading, _, _ = with_retries(
            lambda: self._pairing.ask(
                asker,
                request,
                facts,
                pin.model,
                asker.replay_limiter,
                Purpose(kept.STREAM, pin.group),
                logprobs="auto" if asker.replay is None else asker.replay.logprobs,
            ),
            lambda result: bool(_BUSY.fullmatch(result[0].error or "")),
        )
        if not reading.error and reading.complete:
            kept.keep_answer(self._ledger, {**row, "answer": json.dumps(answer_document(reading)).encode()})

    def _lose(self, row: StoredRow, slot: int, reason: str) -> None:
        lost = self._pairing.lost(row.stream, row.group, "dropped", reason)
        self._pairing.places.settle(row.stream, slot, {**lost, "banked_call": row.call})
