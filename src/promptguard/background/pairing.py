"""From a sampled call to a pair in the ledger: ask again, read both answers alike, compare, release in order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from promptguard import wire
from promptguard.background.certainty import Certainty
from promptguard.background.fitting import NOT_COMPARABLE, refusal_of, written
from promptguard.background.following import Following, Purpose, trace_id
from promptguard.background.judged_by import JudgedBy
from promptguard.background.places import PAIRED_BEFORE, Outcome, Places
from promptguard.background.sides import (
    answer_of,
    as_far_read,
    closed_early,
    in_order,
    lost_outcome,
    other_model,
    read_control,
    tools_of,
    wants_logprobs,
)
from promptguard.background.spellings import Spellings
from promptguard.core.background_call import (
    NO_BACKGROUND_CLIENT,
    BackgroundClient,
    BackgroundResponse,
    NoBackgroundClient,
    OtherServer,
)
from promptguard.core.effects import Job
from promptguard.core.events import Event, PairDone
from promptguard.core.identity import who_of
from promptguard.core.key import credentials, meaningful_headers
from promptguard.core.model import Facts, PromptReference, Reading, Request
from promptguard.core.options import Logprobs, Shadow
from promptguard.core.policy import EFFECT_PAIRS
from promptguard.drift import vectorise
from promptguard.ledger.rows import PairRow
from promptguard.ledger.store import Ledger
from promptguard.ledger.writer import Writer
from promptguard.verdict.reasons import PROCESS_ENDED

if TYPE_CHECKING:
    from promptguard.background.acting import Acting
    from promptguard.background.asker import Asker
    from promptguard.shadow.budget import BudgetLimiter
    from promptguard.shadow.reorder import ReorderBuffer

COMPARED_BEFORE = "accepted: Shadow(model=...) is of before the change, name a snapshot of today"
STORED_BEFORE = "stored before the change that was accepted"


class Pairing:
    """Makes pairs of all streams. Thread-safe; runs in the shadow threads."""

    def __init__(
        self,
        ledger: Ledger,
        writer: Writer,
        acting: Acting,
        *,
        following: Following,
        emit: Callable[[Event], None],
        record_content: bool,
        most_open: Callable[[], int],
        wall: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._writer = writer
        self._acting = acting
        self._following = following
        self._emit = emit
        self.record_content = record_content
        self._wall = wall
        self._lock = threading.Lock()
        self._effect_pairs: dict[str, int] = {}
        self._spellings = Spellings()
        self._by = JudgedBy(ledger)
        self._certainty = Certainty()
        self.has_lost_at_end = False
        """whether a sampled call was no pair yet as the process, or the last client, ended"""
        self.places = Places(
            release=self._release, lost=self.lost, emit=emit, epoch=self.epoch, most_open=most_open
        )

    def order(self, stream: str) -> ReorderBuffer[Outcome]:
        """Return the order of a stream's pairs."""
        return self.places.order(stream)

    def epoch(self, stream: str, group: str) -> int:
        """Return the epoch that the next pair of a group belongs to."""
        return self._acting.epoch(stream, group)

    def accepted(self, stream: str, group: str) -> tuple[float, str | None]:
        """Return since when answers are a reference, and the model that is none any more."""
        return self._acting.accepted(stream, group) or (0.0, None)

    def pair(self, job: Job, asker: Asker) -> Reading:
        """Pair a sampled call in every stream it asks for; returns its own answer.

        What it raises, the places that are left are given up by who calls: the pairs behind them would wait for minutes.
        """
        control = read_control(job)
        self._note_sighting(job.request, job.routed_to or job.facts.model, control, job.at)
        again: Reading | None = None
        # the same model first: the pair with the second one is compared with its answer beside it
        for stream in ("repeat", "candidate"):
            slot = job.places.get(stream)
            if slot is None or not self.places.is_open(stream, slot):
                continue  # it waited so long that its slot was given up: what it would cost is spared
            row, reading = self._row(stream, job, control, asker, again)
            if stream == "repeat" and row["outcome"] == "compared":
                again = reading
            elif stream == "candidate" and row["outcome"] == "compared" and job.routed_to is None:
                asker.suspicion.saw(row.get("vector"), asker.repeats)
            self.places.settle(stream, slot, row)
        return control

    def _row(
        self, stream: str, job: Job, control: Reading, asker: Asker, again: Reading | None
    ) -> tuple[PairRow, Reading | None]:
        """Ask the other side and compare; every way this can end is an outcome with its reason.

        `again` is the answer of the same model asked again, if it was. Returns the row, and the other side's answer.
        """
        epoch, shadow = self.epoch(stream, job.group), asker.shadow
        unasked = self._unasked(stream, epoch, job, control, shadow)
        if unasked is not None:
            return unasked, None
        if shadow is None:
            return self.lost(stream, job.group, "dropped", "no shadow"), None
        asked = other_model(stream, job, shadow.model)
        elsewhere = asker.is_elsewhere and stream == "candidate" and job.routed_to is None
        server = asker.server() if elsewhere else None
        if elsewhere and server is None:
            return self.lost(stream, job.group, "not_paired", NO_BACKGROUND_CLIENT), None
        question = written(job.request, job.facts, asked, shadow.rules, server)
        if question.why_not:
            return self.lost(stream, job.group, NOT_COMPARABLE, question.why_not), None
        purpose = Purpose(stream, job.group, job.link)
        logprobs: Logprobs = shadow.logprobs if wants_logprobs(stream, job, control, again) else "never"
        reading, usd, latency = self.ask(
            asker,
            job.request,
            job.facts,
            asked,
            asker.limiter,
            purpose,
            question.body,
            server,
            logprobs,
            placed=True,
        )
        if reading.error:
            if reading.error.startswith("not_asked"):
                asker.repeats.refused()
            why = refusal_of(asked, reading.error)
            return {**self.lost(stream, job.group, lost_outcome(reading, again), why), "usd": usd}, None
        theirs = as_far_read(reading, control) if closed_early(job, control) else reading
        row = self.compared(
            stream, epoch, job.group, job.facts, job.prompt, *in_order(job, control, theirs, again)
        )
        row["control_model"], row["candidate_model"] = (
            (asked, job.routed_to) if job.routed_to else (job.facts.model, asked)
        )
        told: PairRow = {
            **row,
            "at": job.at,
            "call": job.call,
            "trace": trace_id(job.link),
            "subject": job.subject,
            "input_tokens": reading.input_tokens or 0,
            "output_tokens": reading.output_tokens or 0,
            "usd": usd,
            "latency": latency,
            "rules": question.rules,
        }
        return told, reading

    def _unasked(
        self, stream: str, epoch: int, job: Job, control: Reading, shadow: Shadow | None
    ) -> PairRow | None:
        """Return the row of a call that nobody is asked for, None where somebody is."""
        if control.error:
            return self.lost(stream, job.group, "control_error", control.error)
        if not self.claim(stream, epoch, job.clusters):
            return self.lost(stream, job.group, "not_paired", PAIRED_BEFORE)
        if job.routed_to is not None and not self._wants_effect(stream, job.group):
            return self.lost(stream, job.group, "not_paired", "routed: the effect has been measured")
        asked = None if shadow is None else other_model(stream, job, shadow.model)
        if asked is not None and self.accepted(stream, job.group)[1] == asked:
            return self.lost(stream, job.group, "not_paired", COMPARED_BEFORE)
        return None

    def ask(
        self,
        asker: Asker,
        request: Request,
        facts: Facts,
        model: str,
        limiter: BudgetLimiter,
        purpose: Purpose,
        body: Mapping[str, object] | None = None,
        server: OtherServer | None = None,
        logprobs: Logprobs = "never",
        *,
        placed: bool = False,
    ) -> tuple[Reading, float, float]:
        """Ask `model` the question of `request` in the background; returns (reading, USD, seconds).

        `body` is the question as it is sent, where it is not simply that of `request`; `server` is asked instead of the
        application's, in its own protocol and with credentials of its own. `logprobs` says whether log-probabilities are
        asked for where the question does not do so itself; `placed` that the call has its place in the minute already.
        """
        client = asker.client if server is None else server.client
        if isinstance(client, NoBackgroundClient):  # nothing is booked for what cannot be asked
            return Reading(text="", complete=False, error=NO_BACKGROUND_CLIENT), 0.0, 0.0
        protocol = wire.named(facts.protocol if server is None else server.protocol)
        body = protocol.background_body(facts, model) if body is None else body
        send = partial(self._sent, client, request, facts, model, server)
        if server is not None:
            request = server.request(model, body, request.timeout)
            facts = protocol.read_request(request) or facts
        reserved = limiter.reserve(model, len(request.body), protocol.output_bound(body), placed=placed)
        if isinstance(reserved, str):
            return Reading(text="", complete=False, error=f"not_asked: {reserved}"), 0.0, 0.0
        began = time.monotonic()
        trace = self._following.begin(purpose, facts, request.origin, model)
        ask = partial(
            self._certainty.ask, send, body, how=logprobs, protocol=protocol.NAME, place=limiter.take_place
        )
        asked = self._following.unseen(partial(ask, origin=request.origin, model=model))
        took = time.monotonic() - began
        if asked.error is not None:
            reading = Reading(text="", complete=False, error=asked.error)
            self._following.end(trace, reading)
            # A refused call is not billed.
            free = asked.error.startswith(("status_", "not_asked", NO_BACKGROUND_CLIENT))
            return reading, limiter.settle(reserved, 0, 0) if free else reserved.usd, took
        reading = protocol.read_reply(asked.status, asked.headers, asked.body, streamed=False)
        self._following.end(trace, reading)
        self._note_sighting(request, model, reading, self._wall())
        return reading, limiter.settle(reserved, reading.input_tokens, reading.output_tokens), took

    def _sent(
        self,
        client: BackgroundClient,
        request: Request,
        facts: Facts,
        model: str,
        server: OtherServer | None,
        body: Mapping[str, object],
    ) -> BackgroundResponse:
        if server is not None:
            return client.ask(server.address(model), body, server.headers, request.timeout)
        # Who asked is in the call, not in the client: `with_options(api_key=..., base_url=...)` shares our transport.
        who = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in credentials(request)
        }
        headers = dict(meaningful_headers(request)) | who
        url = request.origin + wire.named(facts.protocol).background_path(request, facts, model)
        return client.ask(url, body, headers, request.timeout)

    def compared(
        self,
        stream: str,
        epoch: int,
        group: str,
        facts: Facts,
        prompt: PromptReference | None,
        control: Reading,
        candidate: Reading,
        again: Reading | None = None,
    ) -> PairRow:
        """Return the row of a pair whose two answers are there.

        `prompt` is what the call was rendered from, `again` another answer of the control's model.
        """
        vector = vectorise(
            answer_of(control),
            answer_of(candidate),
            reference=prompt.reference if prompt else None,
            seed=self._by.secret(),
            labels=self._by.rule(prompt),
            response_format=facts.response_format,
            may_tell=None
            if self.record_content
            else self._spellings.of_request(facts.response_format, facts.body),
            repeat=None if again is None else answer_of(again),
        )
        row: PairRow = {
            **self.lost(stream, group, "compared", ""),
            "epoch": epoch,
            "asked": facts.model,
            "control_model": facts.model,
            "candidate_model": facts.model,
            "control_served": control.identity.model or "",
            "candidate_served": candidate.identity.model or "",
            "vector": vector.to_bytes(),
            # Of the background call, which is this side's but for routed calls.
            "input_tokens": candidate.input_tokens or 0,
            "output_tokens": candidate.output_tokens or 0,
        }
        if self.record_content:
            row["content"] = {
                "question": json.dumps(facts.messages).encode(),
                "control": control.text.encode("utf-8", "surrogatepass"),
                "candidate": candidate.text.encode("utf-8", "surrogatepass"),
                "tools": tools_of(control, candidate),
            }
        return row

    def lost(self, stream: str, group: str, outcome: str, reason: str) -> PairRow:
        """Return the row of a pair that is missing a side."""
        return {
            "stream": stream, "epoch": self.epoch(stream, group), "group": group, "at": self._wall(), "call": 0,
            "outcome": outcome, "reason": reason, "asked": "", "control_model": "", "candidate_model": "",
        }  # fmt: skip

    def claim(self, stream: str, epoch: int, clusters: tuple[str, ...]) -> bool:
        """Whether these questions and conversations may be paired: answers within one depend on each other."""
        return not clusters or self._ledger.claim(stream, epoch, clusters)

    def _wants_effect(self, stream: str, group: str) -> bool:
        if stream != "candidate":
            return False
        with self._lock:
            count = self._effect_pairs.get(group, 0)
            self._effect_pairs[group] = count + 1
        return count < EFFECT_PAIRS

    def _note_sighting(self, request: Request, asked: str, reading: Reading, at: float) -> None:
        if not reading.error:
            self._writer.note_sighting(who_of(request.origin, asked, reading.identity), at)

    def _release(self, row: PairRow) -> None:
        if row["reason"] == PROCESS_ENDED and row["outcome"] != "dropped":
            self.has_lost_at_end = True
        self._writer.put_pair(row)
        self._emit(
            PairDone(
                row["stream"],
                row["group"],
                row["outcome"],
                row["reason"],
                row["candidate_model"],
                row.get("usd", 0.0),
            )
        )
