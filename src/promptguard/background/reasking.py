"""A cached answer and the fresh one that replaced it: a pair of the replay stream that costs no call of its own."""

from __future__ import annotations

from promptguard import wire
from promptguard.background.pairing import STORED_BEFORE, Pairing
from promptguard.background.places import PAIRED_BEFORE
from promptguard.background.sides import read_control
from promptguard.core.effects import Job
from promptguard.core.key import tagged_subject
from promptguard.core.model import Reading, StoredReply
from promptguard.ledger.rows import PairRow


def pair_prior(pairing: Pairing, job: Job) -> None:
    """Pair what the cache held before this call (control) with what this call brought (candidate)."""
    assert job.prior is not None  # noqa: S101 - what makes it such a job
    row = pairing.lost("replay", job.group, "dropped", "fault")
    try:
        row = _row(pairing, job, job.prior)
    finally:
        pairing.places.settle("replay", job.places["replay"], row)


def _row(pairing: Pairing, job: Job, prior: StoredReply) -> PairRow:
    stored, fresh = _read(job, prior), read_control(job)
    if stored.error:
        return pairing.lost("replay", job.group, "control_error", stored.error)
    if fresh.error:
        return pairing.lost("replay", job.group, "candidate_error", fresh.error)
    if prior.stored_at < pairing.accepted("replay", job.group)[0]:
        return pairing.lost("replay", job.group, "not_paired", STORED_BEFORE)
    epoch = pairing.epoch("replay", job.group)
    if not pairing.claim("replay", epoch, job.clusters):
        return pairing.lost("replay", job.group, "not_paired", PAIRED_BEFORE)
    row = pairing.compared("replay", epoch, job.group, job.facts, job.prompt, stored, fresh)
    # Nothing was asked in the background: the tokens are the application's own.
    stored_at = min(prior.stored_at, job.at)
    whose = (job.subject, *(tagged_subject(tag) for tag in prior.tags))
    return {
        **row,
        "at": job.at,
        "call": job.call,
        "banked_at": stored_at,
        "subject": " ".join(dict.fromkeys(filter(None, whose))),
        "input_tokens": 0,
        "output_tokens": 0,
        "usd": 0.0,
    }


def _read(job: Job, prior: StoredReply) -> Reading:
    reading: Reading = wire.named(job.facts.protocol).read_reply(
        prior.status, prior.headers, b"".join(prior.chunks), streamed=job.facts.streamed
    )
    return reading
