"""The two sides of a pair, read by the same rules: what an answer is, when it is lost, how much of it is compared."""

from __future__ import annotations

import json
from dataclasses import replace

from promptguard import wire
from promptguard.core.background_call import NO_BACKGROUND_CLIENT
from promptguard.core.effects import Job
from promptguard.core.model import Reading
from promptguard.core.streams import STORED
from promptguard.drift import Answer
from promptguard.ledger.rows import PairRow
from promptguard.shadow.reorder import Missing
from promptguard.verdict.reasons import PROCESS_ENDED


def read_control(job: Job) -> Reading:
    """Read the answer that the application received."""
    reading: Reading = wire.named(job.facts.protocol).read_reply(
        job.head.status, job.head.headers, b"".join(job.body.chunks), streamed=job.facts.streamed
    )
    # A background answer that breaks off is lost, so the application's must be: half an answer is no shorter answer.
    broken = job.body.clipped or (job.body.end == "cut" and reading.finish_reason is None)
    return replace(reading, error="cut") if broken and not reading.error else reading


def closed_early(job: Job, control: Reading) -> bool:
    """Whether the application closed the stream before the answer had ended."""
    return job.body.end == "closed" and not control.complete


def as_far_read(candidate: Reading, control: Reading) -> Reading:
    """Return the candidate's answer as far as the application read its own, which it closed early.

    Otherwise the control would always be the shorter one, and the two sides not exchangeable.
    """
    return replace(
        candidate,
        text=candidate.text[: len(control.text)],
        finish_reason=None,
        tool_calls=control.tool_calls,
        logprobs=(),
    )


def lost_outcome(reading: Reading, again: Reading | None = None) -> str:
    """Tell a call that failed, which is missing on one side, from one that was never made, which is nobody's loss.

    Beside a second control (`again`) it is a loss: what that answer has cost may be why nothing was left for this one.
    """
    if reading.error == NO_BACKGROUND_CLIENT:
        return "not_paired"
    never_made = reading.error is not None and reading.error.startswith("not_asked")
    return "dropped" if never_made and again is None else "candidate_error"


def given_up(stream: str, missing: Missing) -> str:
    """Return the outcome of a place that is given up: a lost answer, judged as one, as it may be missing for its length.

    A stored question whose turn has not come was asked of nobody, which is nobody's loss.

    >>> given_up("candidate", "second"), given_up("candidate", "first"), given_up("replay", "turn")
    ('candidate_error', 'control_error', 'dropped')
    """
    if missing == "turn":
        return "dropped"
    if stream == STORED:  # what was to be stored is the control of a pair to come
        return "control_error"
    # A pair of a stored answer and a call's own is the only one whose control is there before the call is answered.
    return "control_error" if missing == "first" and stream != "replay" else "candidate_error"


_NETWORK = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "ReadTimeout", "WriteTimeout"}  # httpx
    | {"ReadError", "WriteError", "CloseError", "RemoteProtocolError", "LocalProtocolError"}
    | {"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError"}  # botocore
    | {"ReadTimeoutError", "ConnectionClosedError", "HTTPClientError"}
)
"""Attempts that failed on the way, which the SDK makes once more: so does replay with its own."""


def was_refused(error: str) -> bool:
    """Whether an attempt failed by what happens to background calls as well, so that it says nothing of one side.

    What the application does is another matter: it cancels calls, and background calls go on.

    >>> [was_refused(error) for error in ("status_429", "status_504", "ConnectError", "ReadTimeout")]
    [True, True, True, True]
    >>> [was_refused(error) for error in ("CancelledError", "cut")]
    [False, False]
    """
    return error.startswith("status_") or error in _NETWORK


def not_judged(row: PairRow) -> PairRow:
    """Return the row of a pair whose process ended before it could be judged in its order: its second answer is lost.

    What was spent stays known, the answers do not. What was no pair anyway keeps its own reason.
    """
    if row["outcome"] != "compared":
        return row
    told: PairRow = {**row, "outcome": "candidate_error", "reason": PROCESS_ENDED}
    told.pop("vector", None)
    told.pop("content", None)
    return told


def other_model(stream: str, job: Job, shadow_model: str) -> str:
    """Return the model that the background call asks."""
    if job.routed_to is not None or stream == "repeat":
        return job.facts.model  # the application's own model: unrouted, or once more
    return shadow_model


def in_order(
    job: Job, control: Reading, candidate: Reading, again: Reading | None
) -> tuple[Reading, Reading, Reading | None]:
    """Return the control, the candidate and the other control, if there is one.

    `control` is the application's answer, `candidate` that of the background call, `again` another one of the
    application's model. Where there is such, it is the control, and the application's answer the other one: then both sides
    of the pair were asked in the same way at the same time. This never depends on what an answer says.
    """
    # After routing the application's answer is the pinned snapshot's: sides are named by the model asked.
    if job.routed_to is not None:
        return candidate, control, None
    # an answer cut where the application closed it is like none that was read to its end
    if again is None or closed_early(job, control):
        return control, candidate, None
    return again, candidate, control


def wants_logprobs(stream: str, job: Job, control: Reading, again: Reading | None) -> bool:
    """Whether a background call is worth asking for log-probabilities: both sides of a pair could have them.

    So of the two that are asked where there is a second control; and not of the second one where the first has none.
    """
    if "candidate" not in job.places or job.routed_to is not None or closed_early(job, control):
        return False
    return stream == "repeat" or (stream == "candidate" and again is not None and bool(again.logprobs))


def answer_of(reading: Reading) -> Answer:
    """Return what the detector sees of an answer."""
    return Answer(
        reading.text,
        finish_reason=reading.finish_reason,
        tool_calls=reading.tool_calls,
        refusal=reading.refusal,
        output_tokens=reading.output_tokens,
        logprobs=reading.logprobs,
    )


_MOST_TOOLS = 64 * 1024
"""Characters of tool calls that are kept beside a pair's texts; of longer ones nothing is."""


def tools_of(control: Reading, candidate: Reading) -> bytes | None:
    """Return the tool calls of both sides as JSON, None where there are none, or they are too long."""
    if not control.tool_calls and not candidate.tool_calls:
        return None
    told = json.dumps(
        [[dict(call) for call in side.tool_calls] for side in (control, candidate)], default=str
    )
    return told.encode("utf-8", "surrogatepass") if len(told) <= _MOST_TOOLS else None
