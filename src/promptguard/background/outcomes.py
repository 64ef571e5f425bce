"""From what a call of a rollout brought to a row of plain figures."""

from __future__ import annotations

from collections.abc import Callable

from promptguard.background.judged_by import JudgedBy
from promptguard.background.sides import answer_of, closed_early, read_control
from promptguard.core.effects import Job, NoteOutcome
from promptguard.core.model import Reading
from promptguard.core.policy import unsaved
from promptguard.drift import PairVector, vectorise
from promptguard.drift.betting.arms import NOTHING, feature
from promptguard.drift.features.correctness import is_right
from promptguard.drift.features.schema import asked_schema
from promptguard.ledger.store import Ledger
from promptguard.shadow.budget import list_price


class Outcomes:
    """Makes rows of the table `outcome`; `wall` gives seconds since the Unix epoch."""

    def __init__(self, ledger: Ledger, wall: Callable[[], float]) -> None:
        self._ledger = ledger
        self._wall = wall
        self._by = JudgedBy(ledger)

    def row(self, noted: NoteOutcome) -> dict[str, object] | None:
        """Return the row of an outcome, None for one that says nothing: the application closed the answer early."""
        staged = noted.staged
        row: dict[str, object] = {
            "rollout": staged.rollout, "unit": staged.unit, "step": staged.step, "treated": int(staged.is_treated),
            "at": self._wall(), "usable": None, "refused": None, "usd": None, "latency": None, "answer": None,
        }  # fmt: skip
        job = noted.job
        if job is None:
            return {**row, "usable": 0}
        reading = read_control(job)
        if closed_early(job, reading):
            return None
        if reading.error:
            return {**row, "usable": 0}
        vector = vectorise(
            NOTHING, answer_of(reading), seed=self._by.secret(), labels=self._by.rule(job.prompt),
            response_format=job.facts.response_format,
        )  # fmt: skip
        return {
            **row,
            "usable": int(is_usable(reading, job, vector)),
            "refused": int(feature(vector, "refusal") > 0),
            "usd": usd(reading, job.routed_to or job.facts.model),
            "latency": job.latency,
            "answer": vector.to_bytes(),
        }


def is_usable(reading: Reading, job: Job, vector: PairVector) -> bool:
    """Whether an answer is what the application can use, as far as the request and its prompt say what that is.

    Complete and with an ordinary end; of the form that was asked for; with one of the prompt's labels; right where the
    application said the true answer.
    """
    if unsaved(reading) is not None:
        return False
    prompt, label = job.prompt, vector.labels[1]
    # an answer that calls a tool is no text yet
    if reading.tool_calls and not reading.text:
        return True
    if asked_schema(job.facts.response_format) is not None and not feature(vector, "json_as_asked"):
        return False
    if prompt is None:
        return True
    if prompt.label_rule and label is None:
        return False
    return prompt.reference is None or is_right(reading.text, label, prompt.reference)


def usd(reading: Reading, asked: str) -> float | None:
    """Return what an answer cost by list price, None where tokens or price are not known."""
    price = list_price(reading.identity.model or asked) or list_price(asked)
    if price is None or reading.input_tokens is None or reading.output_tokens is None:
        return None
    return (price.input * reading.input_tokens + price.output * reading.output_tokens) / 1e6
