"""Requests kept with their answers, each asked once more after a while: the stream that shows a silent update.

How long each waits, `core.ladder` says.

What is kept lies in the ledger's `banked` table (files 0600) until it is used, at most 30 days; headers that carry
credentials are never kept. The process that asks again uses its own client's credentials.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from promptguard.background.following import Purpose, trace_id
from promptguard.background.pairing import STORED_BEFORE, Pairing
from promptguard.background.places import PAIRED_BEFORE
from promptguard.background.replay_sources import Sources, source_of
from promptguard.background.sides import as_far_read, closed_early, lost_outcome, read_control, was_refused
from promptguard.background.stored_facts import facts_document, restored_facts
from promptguard.background.tasks import StoredCall, StoredLoss, Task
from promptguard.core.effects import Job
from promptguard.core.key import (
    MEANINGFUL_HEADERS,
    credentials,
    meaningful_headers,
    unknown_headers,
)
from promptguard.core.ladder import draw, ladder
from promptguard.core.model import Headers, Identity, Reading, Request, header
from promptguard.core.options import seconds
from promptguard.core.secrets import answer_carries_credential, carries_credential, held_by
from promptguard.ledger.rows import BankedRow, PairRow, StoredRow
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.lifetime.threads import OnFault, supervised
from promptguard.reasons import note
from promptguard.shadow.retry import with_retries
from promptguard.shadow.worker import Worker
from promptguard.verdict.reasons import PROCESS_ENDED

if TYPE_CHECKING:
    from promptguard.background.asker import Asker

KEPT_SECONDS = 30 * 86400.0
POLL_SECONDS = 5.0
POLL_SECONDS_SIMULATED = 0.02
"""With a clock of the test's own, which may move hours at once."""
AT_ONCE = 32
_BUSY = re.compile("status_(408|409|429|5..)|connection|timeout")
"""What the SDKs try again: the stored answer had these retries too."""


_LOST = "lost"
"""In place of an answer: why there is none."""


def store(ledger: Ledger, sources: Sources, job: Job, asker: Asker, now: float) -> None:
    """Keep a call and its answer until they are due; or that it was lost, which waits and gives way as an answer does.

    Were lost ones not kept, those that the application gives up at some length would be missing on the stored side alone.
    Were they counted at once, there would be more of them than of pairs, which a bank and caps make few.
    """
    control = None if job.error else read_control(job)
    error = job.error if control is None else control.error
    if control is None or error:
        if was_refused(error or ""):
            return
        answer: dict[str, object] = {_LOST: error}
    else:
        answer = {**answer_document(control), "closed_early": closed_early(job, control)}
    _keep(ledger, sources, job, asker, now, stream="replay", model=job.facts.model, answer=answer)


def bank_placebo(
    ledger: Ledger, sources: Sources, pairing: Pairing, job: Job, asker: Asker, now: float
) -> None:
    """Ask the pinned snapshot the same question now, and keep its answer for the same time."""
    options = asker.replay
    if options is None or options.placebo is None:
        return
    purpose = Purpose("placebo", job.group, job.link)
    reading, _, _ = pairing.ask(
        asker,
        job.request,
        job.facts,
        options.placebo,
        asker.replay_limiter,
        purpose,
        logprobs=options.logprobs,
    )
    if not reading.error:
        _keep(
            ledger,
            sources,
            job,
            asker,
            now,
            stream="placebo",
            model=options.placebo,
            answer=answer_document(reading),
        )


def _keep(
    ledger: Ledger,
    sources: Sources,
    job: Job,
    asker: Asker,
    now: float,
    *,
    stream: str,
    model: str,
    answer: dict[str, object],
) -> None:
    options = asker.replay
    if options is None:
        return
    found = carries_credential(job.request)
    if found is None and answer_carries_credential(answer, held_by(job.request)):
        found = "answer"
    if found is not None:  # it would be written with request and answer
        reason = f"replay: a credential in the {found.partition(' ')[0]}"
        ledger.count({("not paired", note("not paired", reason)): 1.0})
        if found != "answer":
            return
        answer = {
            _LOST: "a credential in the answer"
        }  # those of later on are not looked at: it is one side's loss
    source = source_of(job.request, asker)
    sources.learn(source, asker, (*credentials(job.request), *unknown_headers(job.request)), job.at)
    question = {
        "method": job.request.method,
        "origin": job.request.origin,
        "path": job.request.path,
        "headers": [(k, v) for k, v in meaningful_headers(job.request) if k in MEANINGFUL_HEADERS],
        "timeout": dict(job.request.timeout),
        "body": job.request.body.decode("utf-8", "surrogatepass"),
        **facts_document(job),
        **({} if job.link is None else {"link": job.link}),
    }
    row: BankedRow = {
        "stream": stream,
        "model": model,
        "group": job.group,
        "clusters": " ".join(job.clusters),
        "at": job.at,
        "due": job.at,
        "call": job.call,
        "source": source,
        "question": b"{}" if _LOST in answer else json.dumps(question).encode(),
        "answer": json.dumps(answer).encode(),
        "subject": job.subject,
    }
    rungs = ladder(seconds(options.after, "after"), options.reservoir)
    ledger.bank(row, rungs, draw(job.call), options.reservoir, now - KEPT_SECONDS)


def answer_document(reading: Reading) -> dict[str, object]:
    """Return what is kept of an answer; `restored` reads it back."""
    return {
        "text": reading.text,
        "finish_reason": reading.finish_reason,
        "refusal": reading.refusal,
        "tool_calls": list(reading.tool_calls),
        "logprobs": list(reading.logprobs),
        "output_tokens": reading.output_tokens,
        "served": reading.identity.model,
    }


def request_of(question: Mapping[str, Any], who: Headers) -> Request:
    """Return a stored question as a request, authorized by `who`."""
    return Request(
        method=question["method"],
        origin=question["origin"],
        path=question["path"],
        headers=(*((k.encode("latin-1"), v.encode("latin-1")) for k, v in question["headers"]), *who),
        body=question["body"].encode("utf-8", "surrogatepass"),
        timeout=question["timeout"],
    )


def restored(row: StoredRow, slot: int, who: Headers) -> StoredCall | StoredLoss:
    """Return a stored row as it is asked again, or told as lost.

    Raises ValueError, LookupError or TypeError for one that cannot be read.
    """
    question, answer = json.loads(row.question), json.loads(row.answer)
    clusters = tuple(row.clusters.split())
    if _LOST in answer:
        return StoredLoss(row.stream, slot, row.group, clusters, row.at, row.call, str(answer[_LOST]))
    request = request_of(question, who)
    reading = Reading(
        text=answer["text"],
        complete=not answer.get("closed_early", False),
        finish_reason=answer["finish_reason"],
        refusal=answer["refusal"],
        tool_calls=tuple(answer["tool_calls"]),
        logprobs=tuple(answer.get("logprobs", ())),
        output_tokens=answer["output_tokens"],
        identity=Identity(model=answer["served"]),
    )
    facts, prompt = restored_facts(question, request)
    if facts is None:
        raise ValueError("a stored request that its protocol cannot read")
    return StoredCall(
        stream=row.stream,
        model=row.model,
        slot=slot,
        group=row.group,
        clusters=clusters,
        at=row.at,
        call=row.call,
        request=request,
        facts=facts,
        prompt=prompt,
        answer=reading,
        link=question.get("link"),
        subject=row.subject,
    )


def ask_again(pairing: Pairing, banked: StoredCall | StoredLoss, asker: Asker) -> None:
    """Ask a stored request once more and pair the stored answer with the new one; the stored one is used up.

    One that was lost gives its pair up here, in its turn: were it claimed before, answers stored earlier would give way.
    """
    pairing.order(banked.stream).renew(banked.slot)
    row = pairing.lost(banked.stream, banked.group, "dropped", "fault")
    try:
        row = _replayed(pairing, banked, asker)
    finally:
        pairing.places.settle(banked.stream, banked.slot, {**row, "banked_call": banked.call})


def _replayed(pairing: Pairing, banked: StoredCall | StoredLoss, asker: Asker) -> PairRow:
    epoch = pairing.epoch(banked.stream, banked.group)
    if banked.at < pairing.accepted(banked.stream, banked.group)[0]:
        return pairing.lost(banked.stream, banked.group, "not_paired", STORED_BEFORE)
    if not pairing.claim(banked.stream, epoch, banked.clusters):
        return pairing.lost(banked.stream, banked.group, "not_paired", PAIRED_BEFORE)
    if isinstance(banked, StoredLoss):
        return pairing.lost(banked.stream, banked.group, "control_error", banked.reason)
    # A stored answer is used once, so a busy server is asked again; the control had the SDK's retries as well.
    request = banked.request
    old = header(request.headers, b"authorization") or b""
    if asker.client.renews_credentials(request.origin, old):  # those of then have run out by now
        kept = set(credentials(request))
        request = replace(request, headers=tuple(pair for pair in request.headers if pair not in kept))
    reading, usd, latency = with_retries(
        lambda: pairing.ask(
            asker,
            request,
            banked.facts,
            banked.model,
            asker.replay_limiter,
            Purpose(banked.stream, banked.group, banked.link),
            logprobs="always" if banked.answer.logprobs else "never",
        ),
        lambda result: bool(_BUSY.fullmatch(result[0].error or "")),
    )
    if reading.error:
        return {**pairing.lost(banked.stream, banked.group, lost_outcome(reading), reading.error), "usd": usd}
    if not banked.answer.complete:
        reading = as_far_read(reading, banked.answer)
    row = pairing.compared(
        banked.stream, epoch, banked.group, banked.facts, banked.prompt, banked.answer, reading
    )
    return {
        **row,
        "banked_at": banked.at,
        "subject": banked.subject,
        "asked": banked.model,
        "control_model": banked.model,
        "candidate_model": banked.model,
        "call": asker.calls(),
        "trace": trace_id(banked.link),
        "usd": usd,
        "latency": latency,
    }


def hand_over(
    worker: Worker[Task],
    row: StoredRow,
    slot: int,
    asker: Asker,
    who: Headers,
    tell: Callable[[Exception], None],
) -> str | None:
    """Have a worker ask a stored row again, authorized by `who`; returns why it is lost, where it is. Never raises.

    `tell` is told what went wrong. The row is deleted already, and so are those behind it: they must have their turn.
    """
    try:
        banked = restored(row, slot, who)
    except Exception as error:  # noqa: BLE001 - one row that cannot be read must not cost the others
        tell(error)
        return "unreadable"
    try:
        reason = worker.offer(Task(asker, banked=banked))
    except Exception as error:  # noqa: BLE001 - no thread can be started, for instance
        tell(error)
        return "fault"
    return PROCESS_ENDED if reason == "closed" else reason


class Replaying:
    """Finds what is due and gives it to the worker, for the clients of this process that may ask it."""

    def __init__(
        self,
        ledger: Ledger,
        pairing: Pairing,
        worker: Worker[Task],
        *,
        on_fault: OnFault,
        wall: Callable[[], float],
        refused: Callable[[str, str], None],
        gives_way: Callable[[], bool] = lambda: False,
    ) -> None:
        self._refused = refused
        self._gives_way = gives_way
        self._ledger = ledger
        self._pairing = pairing
        self._worker = worker
        self._on_fault = on_fault
        self._wall = wall
        self.sources = Sources()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look for what is due from now on; safe to call again."""
        with self._lock:
            if self._thread is None:
                thread = supervised("promptguard-replay", self._run, self._on_fault)
                thread.start()  # first: where no thread can be started, the next client tries again
                self._thread = thread

    def stop(self) -> None:
        """Ask nothing more."""
        self._stop.set()

    @property
    def is_over(self) -> bool:
        """Whether nothing more is taken from the ledger."""
        return self._thread is None or not self._thread.is_alive()

    def _run(self) -> None:
        poll = POLL_SECONDS if self._wall is time.time else POLL_SECONDS_SIMULATED
        while not self._stop.wait(poll):
            self._look()

    def _look(self) -> None:
        # In a function of its own: an Asker that only the loop's variables held would never be closed.
        try:
            if self._gives_way():
                return
        except LedgerUnavailable:
            return  # told once by the ledger itself
        for asker, sources in self.sources.by_asker():
            try:
                self.offer_due(asker, sources)
            except LedgerUnavailable:
                return  # told once by the ledger itself
            except Exception as error:  # noqa: BLE001 - a locked ledger is an event, not the end of the thread
                self._on_fault("replay", error)

    def offer_due(self, asker: Asker, sources: dict[str, Headers]) -> None:
        """Give the worker what is due for one client, oldest first."""
        if self._stop.is_set() or not self._worker.room:
            return  # what were taken now would be lost
        at_once = self._at_once(asker)
        if not at_once:
            if self._ledger.banked_count(self._wall()):
                self._refused("replay", f"not_asked: {asker.replay_limiter.exhausted() or 'budget'}")
            return
        if self._stop.is_set():
            return  # the caps may have been read from a slow ledger
        for row in self._ledger.due(self._wall(), sorted(sources), at_once):
            slot = self._pairing.order(row.stream).open(row.group, "turn")
            tell = partial(self._on_fault, "replay")
            reason = hand_over(self._worker, row, slot, asker, sources[row.source], tell)
            if reason is not None:
                self._lose(row, slot, reason)

    def _at_once(self, asker: Asker) -> int:
        """Return how many may be taken now: a taken answer that a cap or a full queue then refuses would be lost."""
        if asker.replay_limiter.exhausted() == "budget":
            return 0
        most, left = min(AT_ONCE, self._worker.room), asker.replay_limiter.left()
        if left is None:
            return most
        waiting = sum(self._pairing.order(stream).pending for stream in ("replay", "placebo"))
        return max(0, min(most, left - waiting))

    def _lose(self, row: StoredRow, slot: int, reason: str) -> None:
        lost = self._pairing.lost(row.stream, row.group, "dropped", reason)
        self._pairing.places.settle(row.stream, slot, {**lost, "banked_call": row.call})
