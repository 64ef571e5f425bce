"""Canaries by a watch, without an application: seven quiet days, then a change, in simulated time over real HTTP.

    python -m benchmarks.canaries [SEEDS]

The provider answers with recorded answers of a real small model (benchmarks/data): drawn from those to the same prompt,
of the version that is served at that moment. The watch is `promptguard watch`'s own work, with a clock that jumps from
round to round. Told are alarms within the quiet days, and for each change the calls, words and hours until the alarm.
"""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from openai import OpenAI
from tests.drift.recorded import SAME_MODEL, lines

import promptguard
from promptguard.ledger.canaries import Pin, pin
from promptguard.ledger.store import Ledger
from promptguard.report.overview import read_overview
from promptguard.testing import FakeProvider, Question
from promptguard.watch.pinning import pin_of
from promptguard.watch.working import Watching

HOUR, DAY = 3600.0, 86_400.0
QUIET_DAYS, MOST_DAYS = 7, 7
PROMPTS, ANSWERS, EVERY = 12, 3, 6 * HOUR
CHANGES = {
    "a style fine-tune (LoRA)": "ft_style_20",
    "the same at a quarter of its strength": "ft_style_8_s0.25",
    "another quantisation (Q8_0)": "quant_q8_0",
    "cut at 24 tokens": "serv_maxtok24",
    "top_p .5": "serv_top_p0.5",
}
Pool = Mapping[str, list[str]]


def pool(*versions: str) -> Pool:
    """Return sampled answers by prompt."""
    found: dict[str, list[str]] = {}
    for version in versions:
        for line in lines(SAME_MODEL / f"{version}.jsonl.gz"):
            if line.get("temperature"):
                found.setdefault(line["prompt_id"], []).append(line["text"])
    return found


class Endpoint:
    """A model whose version changes behind its name."""

    def __init__(self, served: Pool, dice: random.Random) -> None:
        self.served, self._dice = served, dice
        self.calls = self.words = 0

    def answer(self, question: Question) -> str:
        text = self._dice.choice(self.served[question.text])
        self.calls += 1
        self.words += len(text.split())
        return text


def pins(prompts: list[str], url: str) -> list[Pin]:
    """Return the canaries: one a prompt."""
    origin, _, path = url.rpartition("/")
    found = []
    for prompt in prompts:
        body = {"model": "smollm2", "messages": [{"role": "user", "content": prompt}], "temperature": 0.7}
        question = {
            "method": "POST", "origin": origin, "path": f"/{path}/chat/completions",
            "headers": [["content-type", "application/json"]], "timeout": {"read": 60.0}, "body": json.dumps(body),
            "protocol": "openai_chat", "prompt": None, "label_rule": {}, "reference": None,
        }  # fmt: skip
        found.append(pin_of("canaries", "smollm2", question, every=EVERY, answers=ANSWERS, after=DAY))
    return found


def run(change: str, seed: int) -> tuple[bool, float | None, int, int]:
    """Return whether the quiet days alarmed; then hours, calls and words from the change to the alarm (None: not found)."""
    base, other = pool("base_A", "base_B"), pool(change)
    prompts = sorted(set(base) & set(other))[:PROMPTS]
    endpoint = Endpoint(base, random.Random(f"{change} {seed}"))
    now = [time.time() - 60 * DAY]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place,
        FakeProvider({"smollm2": endpoint.answer}) as provider,
    ):
        pin(Ledger(Path(place)), pins(prompts, provider.url))
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        promptguard.wrap(client, ledger=place, replay=promptguard.Replay(), clock=lambda: now[0])
        watching = Watching(place, client)

        def until(days: float, *, alarm: bool) -> bool:
            end = now[0] + days * DAY
            while now[0] < end:
                now[0] += EVERY * 1.1  # later than any jitter
                watching.ask_canaries(due=True)
                assert watching.background.flush(120.0)
                if alarm and has_alarmed(place, now[0]):
                    return True
            return has_alarmed(place, now[0])

        false_alarm = until(QUIET_DAYS, alarm=True)
        endpoint.served, began = other, now[0]
        endpoint.calls = endpoint.words = 0
        found = not false_alarm and until(MOST_DAYS, alarm=True)
        watching.stop()
    return false_alarm, (now[0] - began) / HOUR if found else None, endpoint.calls, endpoint.words


def has_alarmed(place: str, now: float) -> bool:
    """Whether a canary's verdict is drift."""
    return any(row.status == "drift" for row in read_overview(place, now=now).rows)


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    logging.disable(logging.WARNING)
    os.environ["PROMPTGUARD_REPLAY__BUDGET__CALLS_PER_MINUTE"] = "1000000"
    print(
        f"{PROMPTS} prompts, {2 * ANSWERS} to {3 * ANSWERS} calls a round and prompt, a round every {EVERY / HOUR:.0f} h",
        flush=True,
    )
    false = 0
    for name, change in CHANGES.items():
        for seed in range(seeds):
            alarmed, hours, calls, words = run(change, seed)
            false += alarmed
            told = "not found" if hours is None else f"found after {hours:.0f} h"
            print(f"{name}, seed {seed}: {told}, {calls} calls, {words} words of answers", flush=True)
    print(f"{len(CHANGES) * seeds} times {QUIET_DAYS} quiet days: {false} false alarms")


if __name__ == "__main__":
    main()
