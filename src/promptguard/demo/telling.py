"""What the story came to, as one document: read from the ledger and held beside what the provider kept secret."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from promptguard.demo.story import Outcome
from promptguard.ledger.store import Ledger
from promptguard.report.read import read_counters, read_verdicts
from promptguard.shadow.spending import list_price


def tell(outcome: Outcome) -> dict[str, Any]:
    """Return everything the demo says, ready for JSON."""
    directory = outcome.options.ledger
    pairs, noted = _facts(directory)
    streams = [_stream(document, pairs, noted, outcome) for document in read_verdicts(directory)]
    alias, before, after = outcome.model
    return {
        "task": outcome.options.task,
        "family": outcome.options.family,
        "seed": outcome.options.seed,
        "models": {"alias": alias, "before": before, "after": after},
        "calls": outcome.calls,
        "switch_call": outcome.switch_call,
        "streams": streams,
        "route": next(({"call": n["call"], **n["detail"]} for n in noted if n["kind"] == "route"), None),
        "usable": {phase: asdict(tally) for phase, tally in outcome.phases.items()},
        "shadow": _cost(pairs),
        "cache": _cache(directory, outcome),
        "latency_ms": {
            "bare_median": round(outcome.bare_ms, 3),
            "added_median": round(outcome.added_ms[0], 3),
            "added_p95": round(outcome.added_ms[1], 3),
        },
        "faults": outcome.faults,
        "ledger": str(directory),
        "as_told": _as_told(streams, outcome),
    }


def _facts(directory: Path) -> tuple[list[Any], list[dict[str, Any]]]:
    ledger = Ledger(directory)
    try:
        rows: list[Any] = []
        while more := ledger.pairs_after(rows[-1].id if rows else 0):
            rows += more
        return rows, ledger.occurrences_after(0)
    finally:
        ledger.close()


def _stream(
    document: dict[str, Any], pairs: list[Any], noted: list[dict[str, Any]], outcome: Outcome
) -> dict[str, Any]:
    """Return one stream's verdict with its pair numbers turned into the application's calls."""
    stream, epoch = document["stream"], document["epoch"]
    mine = [row for row in pairs if row.stream == stream and row.epoch == epoch and row.outcome == "compared"]
    calls = [row.call for row in mine]
    told = {**document, "alarm": None, "onset_call": None}
    alarm = next(
        (n for n in noted if n["kind"] == "alarm" and (n["stream"], n["detail"]["epoch"]) == (stream, epoch)),
        None,
    )
    if alarm is not None:
        told["alarm"] = {
            "call": alarm["call"],
            "pair": alarm["detail"]["pairs"],
            "pairs_after_switch": sum(
                1
                for row in mine
                if row.call >= (outcome.switch_call or 0) and row.id <= alarm["detail"]["pair_id"]
            ),
        }
    if document["onset"]:
        # The change lies after the last pair that was still alike, and not after the first that was not.
        pair, low, high = (document["onset"][name] for name in ("pair", "low", "high"))
        earliest = calls[low - 2] + 1 if low >= 2 else 1
        told["onset_call"] = {"call": calls[pair - 1], "low": earliest, "high": calls[high - 1]}
    return told


def _cost(pairs: list[Any]) -> dict[str, dict[str, float]]:
    """Return what the background asked, by stream: calls, tokens and USD at list price."""
    found: dict[str, dict[str, float]] = {}
    for row in pairs:
        if row.outcome == "compared":
            cost = found.setdefault(row.stream, Counter())  # type: ignore[arg-type]
            for name, amount in (
                ("calls", 1),
                ("input_tokens", row.input_tokens),
                ("output_tokens", row.output_tokens),
                ("usd", row.usd),
            ):
                cost[name] += amount
    return {stream: dict(cost) for stream, cost in sorted(found.items())}


def _cache(directory: Path, outcome: Outcome) -> dict[str, Any]:
    counters = read_counters(directory)
    saved = {"input": 0.0, "output": 0.0}
    usd = 0.0
    for label, tokens in counters.get("cache saved tokens", {}).items():
        model, _, side = label.rpartition(": ")
        saved[side] += tokens
        price = list_price(model)
        usd += 0.0 if price is None else tokens * (price.input if side == "input" else price.output) / 1e6
    results = Counter[str]()
    for label, count in counters.get("cache", {}).items():
        results[label.partition(":")[0]] += int(count)
    return {
        "hits": results["hit"],
        "misses": results["miss"],
        "bypassed": results["bypass"],
        "bypassed_because_the_model_changed": int(counters.get("cache", {}).get("bypass: model changed", 0)),
        "saved_input_tokens": int(saved["input"]),
        "saved_output_tokens": int(saved["output"]),
        "saved_usd": usd,
        "calls": outcome.calls,
    }


def _as_told(streams: list[dict[str, Any]], outcome: Outcome) -> bool:
    """Whether the story came out as promised: found in both ways, or quiet where nothing changed."""
    found = {told["stream"] for told in streams if told["status"] == "drift" and told["stream"] != "repeat"}
    if outcome.switch_call is None:
        return not found
    # Fifty questions may be too few for one of the two; it then says so.
    return found == {"candidate", "replay"} or (outcome.options.task == "leetcode" and bool(found))
