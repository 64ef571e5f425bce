"""Requests kept with their answers, each asked once more after a while: the stream that shows a silent update.

What is kept lies in the ledger's `banked` table (files 0600) until it is used, at most 30 days; headers that carry
credentials are never kept. The process that asks again uses its own client's credentials.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptguard.background.pairing import PAIRED_BEFORE, Pairing
from promptguard.background.sides import as_far_read, closed_early, lost_outcome
from promptguard.background.stored_facts import facts_document, restored_facts
from promptguard.background.tasks import Banked, Task
from promptguard.core.effects import Job
from promptguard.core.key import credentials, meaningful_headers, principal
from promptguard.core.model import Headers, Identity, Reading, Request, header
from promptguard.core.options import seconds
from promptguard.ledger.store import Ledger
from promptguard.shadow.patience import patiently
from promptguard.shadow.worker import Worker

if TYPE_CHECKING:
    from promptguard.guarding import Guard

KEPT_SECONDS = 30 * 86400.0
POLL_SECONDS = 5.0
POLL_SECONDS_SIMULATED = 0.02
"""With a clock of the test's own, which may move hours at once."""
AT_ONCE = 32
_CREDENTIAL = re.compile("auth|cookie|cred|key|pass|secret|session|signature|token")
"""In names of headers, and of an address's parameters, that may carry one: none of them is ever written."""
_BUSY = re.compile("status_(408|409|429|5..)|connection|timeout")
"""What the SDKs try again: the stored answer had these retries too."""


def source_of(request: Request, guard: Guard) -> str:
    """Name who may ask a stored request again: the same server with the same credential."""
    return f"{request.origin}|{principal(request, guard.settings.secret)[:16]}"


def bank(ledger: Ledger, job: Job, control: Reading, guard: Guard, now: float) -> None:
    """Keep a request and its answer until they are due."""
    answer = {**_answer_document(control), "closed_early": closed_early(job, control)}
    _keep(ledger, job, guard, now, stream="replay", model=job.facts.model, answer=answer)


def bank_placebo(ledger: Ledger, pairing: Pairing, job: Job, guard: Guard, now: float) -> None:
    """Ask the pinned snapshot the same question now, and keep its answer for the same time."""
    options = guard.settings.replay
    if options is None or options.placebo is None:
        return
    reading, _, _ = pairing.ask(guard, job.request, job.facts, options.placebo, guard.replay_spending)
    if not reading.error:
        _keep(
            ledger, job, guard, now, stream="placebo", model=options.placebo, answer=_answer_document(reading)
        )


def _keep(
    ledger: Ledger, job: Job, guard: Guard, now: float, *, stream: str, model: str, answer: dict[str, Any]
) -> None:
    options = guard.settings.replay
    if options is None or _CREDENTIAL.search(job.request.path.partition("?")[2].lower()):
        return  # a key in the address would be written with it
    source = source_of(job.request, guard)
    guard.sources[source] = credentials(job.request)
    question = {
        "method": job.request.method,
        "origin": job.request.origin,
        "path": job.request.path,
        "headers": [(k, v) for k, v in meaningful_headers(job.request) if not _CREDENTIAL.search(k)],
        "timeout": dict(job.request.timeout),
        "body": job.request.body.decode("utf-8", "surrogatepass"),
        **facts_document(job),
    }
    row = {
        "stream": stream,
        "model": model,
        "group": job.group,
        "clusters": " ".join(job.clusters),
        "at": job.at,
        "due": job.at + seconds(options.after, "after"),
        "call": job.call,
        "source": source,
        "question": json.dumps(question).encode(),
        "answer": json.dumps(answer).encode(),
    }
    ledger.bank(row, options.reservoir, now - KEPT_SECONDS)


def _answer_document(reading: Reading) -> dict[str, Any]:
    return {
        "text": reading.text,
        "finish_reason": reading.finish_reason,
        "refusal": reading.refusal,
        "tool_calls": list(reading.tool_calls),
        "output_tokens": reading.output_tokens,
        "served": reading.identity.model,
    }


def _restored(row: Any, ticket: int, who: Headers) -> Banked:
    question, answer = json.loads(row.question), json.loads(row.answer)
    request = Request(
        method=question["method"],
        origin=question["origin"],
        path=question["path"],
        headers=(*((k.encode("latin-1"), v.encode("latin-1")) for k, v in question["headers"]), *who),
        body=question["body"].encode("utf-8", "surrogatepass"),
        timeout=question["timeout"],
    )
    reading = Reading(
        text=answer["text"],
        complete=not answer.get("closed_early", False),
        finish_reason=answer["finish_reason"],
        refusal=answer["refusal"],
        tool_calls=tuple(answer["tool_calls"]),
        output_tokens=answer["output_tokens"],
        identity=Identity(model=answer["served"]),
    )
    facts, prompt = restored_facts(question, request)
    if facts is None:
        raise ValueError("a stored request that its protocol cannot read")
    return Banked(
        stream=row.stream,
        model=row.model,
        ticket=ticket,
        group=row.group,
        clusters=tuple(row.clusters.split()),
        at=row.at,
        call=row.call,
        request=request,
        facts=facts,
        prompt=prompt,
        answer=reading,
    )


def ask_again(pairing: Pairing, banked: Banked, guard: Guard) -> None:
    """Ask a stored request once more and pair the stored answer with the new one; the stored one is used up."""
    row = pairing.lost(banked.stream, banked.group, "dropped", "fault")
    try:
        row = _replayed(pairing, banked, guard)
    finally:
        pairing.settle(banked.stream, banked.ticket, {**row, "banked_call": banked.call})


def _replayed(pairing: Pairing, banked: Banked, guard: Guard) -> dict[str, Any]:
    epoch = pairing.epoch(banked.stream, banked.group)
    if not pairing.claim(banked.stream, epoch, banked.clusters):
        return pairing.lost(banked.stream, banked.group, "not_paired", PAIRED_BEFORE)
    # A stored answer is used once, so a busy server is asked again; the control had the SDK's retries as well.
    request = banked.request
    old = header(request.headers, b"authorization") or b""
    if guard.twin.renews_credentials(request.origin, old):  # those of then have run out by now
        kept = set(credentials(request))
        request = replace(request, headers=tuple(pair for pair in request.headers if pair not in kept))
    reading, usd, latency = patiently(
        lambda: pairing.ask(guard, request, banked.facts, banked.model, guard.replay_spending),
        lambda result: bool(_BUSY.fullmatch(result[0].error or "")),
    )
    if reading.error:
        return {**pairing.lost(banked.stream, banked.group, lost_outcome(reading), reading.error), "usd": usd}
    if not banked.answer.complete:
        reading = as_far_read(reading, banked.answer)
    row = pairing.compared(
        banked.stream, epoch, banked.group, banked.facts, banked.prompt, banked.answer, reading
    )
    row.update(asked=banked.model, control_model=banked.model, candidate_model=banked.model)
    return {**row, "call": guard.calls, "usd": usd, "latency": latency}


class Replaying:
    """Finds what is due and gives it to the worker, for the clients of this process that may ask it."""

    def __init__(
        self,
        ledger: Ledger,
        pairing: Pairing,
        worker: Worker[Task],
        *,
        on_fault: Callable[[str, BaseException], None],
        wall: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._pairing = pairing
        self._worker = worker
        self._on_fault = on_fault
        self._wall = wall
        self._guards: list[Guard] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def serve(self, guard: Guard) -> None:
        """Ask again for this client's stored requests from now on."""
        self._guards.append(guard)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="promptguard-replay", daemon=True)
            self._thread.start()

    def leave(self, guard: Guard) -> None:
        """Ask again for a client no more: it was unwrapped, or wrapped anew."""
        if guard in self._guards:
            self._guards.remove(guard)

    def close(self) -> None:
        """Ask nothing more."""
        self._stop.set()

    def _run(self) -> None:
        poll = POLL_SECONDS if self._wall is time.time else POLL_SECONDS_SIMULATED
        while not self._stop.wait(poll):
            for guard in tuple(self._guards):
                try:
                    self.offer_due(guard)
                except Exception as error:  # noqa: BLE001 - a locked ledger is an event, not the end of the thread
                    self._on_fault("replay", error)

    def offer_due(self, guard: Guard) -> None:
        """Give the worker what is due for one client, oldest first."""
        at_once = self._at_once(guard) if guard.sources else 0
        if not at_once:
            return
        for row in self._ledger.due(self._wall(), sorted(guard.sources), at_once):
            ticket = self._pairing.order(row.stream).open()
            try:
                banked = _restored(row, ticket, guard.sources[row.source])
            except Exception as error:  # noqa: BLE001 - one row that cannot be read must not cost the others
                self._on_fault("replay", error)
                self._lose(row, ticket, "unreadable")
                continue
            reason = self._worker.offer(Task(guard, banked=banked))
            if reason is not None:
                self._lose(row, ticket, reason)

    def _at_once(self, guard: Guard) -> int:
        """Return how many may be taken now: a taken answer that the cap a minute then refuses would be lost."""
        room: int | None = guard.replay_spending.room()
        if room is None:
            return AT_ONCE
        waiting = sum(self._pairing.order(stream).pending for stream in ("replay", "placebo"))
        return max(0, min(AT_ONCE, room - waiting))

    def _lose(self, row: Any, ticket: int, reason: str) -> None:
        lost = self._pairing.lost(row.stream, row.group, "dropped", reason)
        self._pairing.settle(row.stream, ticket, {**lost, "banked_call": row.call})
