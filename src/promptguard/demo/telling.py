"""What the story came to, as one document: read from the ledger and held beside what the provider kept secret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from promptguard.core.streams import SELF_TESTS
from promptguard.demo.story import Outcome
from promptguard.report.model import Report, StreamReport


def tell(outcome: Outcome, report: Report) -> dict[str, Any]:
    """Return everything the demo says, ready for JSON."""
    streams = [_stream(stream, outcome) for stream in report.streams]
    alias, before, after = outcome.model
    return {
        "task": outcome.options.task,
        "family": outcome.options.family,
        "seed": outcome.options.seed,
        "models": {"alias": alias, "before": before, "after": after},
        "calls": outcome.calls,
        "switch_call": outcome.switch_call,
        "streams": streams,
        "route": next(({"call": a.call, **a.detail} for a in report.actions if a.kind == "route"), None),
        "usable": {phase: asdict(tally) for phase, tally in outcome.phases.items()},
        "shadow": {spent.stream: asdict(spent) for spent in report.spent},
        "cache": _cache(report, outcome),
        "latency_ms": {
            "bare_median": round(outcome.bare_ms, 3),
            "added_median": round(outcome.added_ms[0], 3),
            "added_p95": round(outcome.added_ms[1], 3),
        },
        "faults": outcome.faults,
        "ledger": report.ledger,
        "as_told": _as_told(streams, outcome),
    }


def _stream(stream: StreamReport, outcome: Outcome) -> dict[str, Any]:
    """Return one stream's verdict with its pair numbers turned into the application's calls."""
    told: dict[str, Any] = {
        **stream.verdict.to_dict(),
        "acknowledged": stream.acknowledged,
        "control_model": stream.control,
        "candidate_model": stream.candidate,
    }
    told.update(alarm=None, onset_call=None)
    calls = [point.call for point in stream.curve]
    if stream.alarm is not None:
        after = [call for call in calls[: stream.alarm.pair] if call >= (outcome.switch_call or 0)]
        told["alarm"] = {
            "call": stream.alarm.call,
            "pair": stream.alarm.pair,
            "pairs_after_switch": len(after),
        }
    onset = stream.verdict.onset
    if onset is not None and calls:
        # The change lies after the last pair that was still alike, and not after the first that was not.
        earliest = calls[onset.low - 2] + 1 if onset.low >= 2 else 1
        told["onset_call"] = {
            "call": calls[onset.pair - 1],
            "low": earliest,
            "high": calls[onset.high - 1],
        }
    return told


def _cache(report: Report, outcome: Outcome) -> dict[str, Any]:
    use = report.cache
    return {
        "hits": use.hits,
        "misses": use.misses,
        "other": dict(use.other),
        "saved_input_tokens": sum(asked for asked, _ in use.saved_tokens.values()),
        "saved_output_tokens": sum(answered for _, answered in use.saved_tokens.values()),
        "saved_usd": use.saved_usd,
        "not_served_because_the_model_changed": outcome.not_served,
        "calls": outcome.calls,
    }


def examples(report: Report) -> list[tuple[str, str, str]]:
    """Return two pairs as (question, what the old model said, what the changed one said)."""
    for stream in report.streams:
        if stream.status != "drift" or not stream.examples:
            continue
        turned = stream.verdict.control_moved
        sides = [
            (e.candidate, e.control) if turned else (e.control, e.candidate) for e in stream.examples[:2]
        ]
        return [(e.question, *side) for e, side in zip(stream.examples, sides, strict=False)]
    return []


def sections(told: dict[str, Any]) -> Sequence[tuple[str, Sequence[tuple[str, str]]]]:
    """Return what only the demo knows, as titled rows for the page."""
    usable = [("phase", "usable answers")]
    names = {
        "before": "before the change",
        "after": "after it, not yet noticed",
        "acted": "after PromptGuard acted",
    }
    for phase, shown in names.items():
        tally = told["usable"][phase]
        if tally["calls"]:
            share, without = (100 * tally[name] / tally["calls"] for name in ("usable", "usable_without"))
            usable.append(
                (shown, f"{share:.0f} % of {tally['calls']} calls; without PromptGuard {without:.0f} %")
            )
    switch, models = told["switch_call"], told["models"]
    secret = (
        f"from call {switch} on, {models['alias']} was served by {models['after']} under the same name and fingerprint"
        if switch
        else "nothing changed"
    )
    latency = told["latency_ms"]
    added = (
        f"median {latency['added_median']:.2f} ms, 95th percentile {latency['added_p95']:.2f} ms, over a bare call of "
        f"{latency['bare_median']:.2f} ms on loopback; application, provider and shadow share one process"
    )
    return [
        ("What the provider kept secret", [("", "known only afterwards"), ("the change", secret)]),
        ("Usable answers", usable),
        ("Added to a call", [("", "measured"), ("latency", added)]),
    ]


def _as_told(streams: list[dict[str, Any]], outcome: Outcome) -> bool:
    """Whether the story came out as promised: found in both ways, or quiet where nothing changed."""
    found = {
        told["stream"] for told in streams if told["status"] == "drift" and told["stream"] not in SELF_TESTS
    }
    if outcome.switch_call is None:
        return not found
    # Fifty questions may be too few for one of the two; it then says so.
    return found == {"candidate", "replay"} or (outcome.options.task == "leetcode" and bool(found))
