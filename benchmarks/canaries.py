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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
MOST_TOKENS = 48
ROUND_SECONDS = 1800.0
"""for one round of a live model, however busy the machine"""
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
    """A model whose version changes behind its name; told what was asked since the change."""

    def __init__(self, answers: Callable[[str], str]) -> None:
        self.answers = answers
        self.calls = self.words = 0

    def answer(self, question: Question) -> str:
        text = self.answers(question.text)
        self.calls += 1
        self.words += len(text.split())
        return text


def drawn(served: Pool, dice: random.Random) -> Callable[[str], str]:
    """Return what answers a prompt with one of its recorded answers."""
    return lambda prompt: dice.choice(served[prompt])


def pins(prompts: list[str], url: str) -> list[Pin]:
    """Return the canaries: one a prompt."""
    origin, _, path = url.rpartition("/")
    found = []
    for prompt in prompts:
        messages = [{"role": "user", "content": prompt}]
        body = {"model": "smollm2", "messages": messages, "temperature": 0.7, "max_tokens": MOST_TOKENS}
        question = {
            "method": "POST", "origin": origin, "path": f"/{path}/chat/completions",
            "headers": [["content-type", "application/json"]], "timeout": {"read": 60.0}, "body": json.dumps(body),
            "protocol": "openai_chat", "prompt": None, "label_rule": {}, "reference": None,
        }  # fmt: skip
        found.append(pin_of("canaries", "smollm2", question, every=EVERY, answers=ANSWERS, after=DAY))
    return found


class Watch:
    """A watch of a ledger whose clock jumps from round to round."""

    def __init__(self, place: Path, url: str, now: float) -> None:
        self.place, self.now = place, now
        client = OpenAI(base_url=url, api_key="k", max_retries=0)
        promptguard.wrap(client, ledger=place, replay=promptguard.Replay(), clock=lambda: self.now)
        self._watching = Watching(str(place), client)

    def until_alarm(self, days: float) -> bool:
        """Ask round after round until a canary's verdict is drift, or that many days are over."""
        end = self.now + days * DAY
        while self.now < end:
            self.now += EVERY * 1.1  # later than any jitter
            self._watching.ask_canaries(due=True)
            assert self._watching.background.flush(ROUND_SECONDS)
            if any(row.status == "drift" for row in read_overview(str(self.place), now=self.now).rows):
                return True
        return False

    def stop(self) -> None:
        """Stop as the command does on SIGTERM."""
        self._watching.stop()


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one change."""

    hours: float | None
    """from the change to the alarm; None where it was not found"""
    calls: int
    words: int

    def __str__(self) -> str:
        told = "not found" if self.hours is None else f"found after {self.hours:.0f} h"
        return f"{told}, {self.calls} calls, {self.words} words of answers"


def change(watch: Watch, endpoint: Endpoint, answers: Callable[[str], str]) -> Found:
    """Serve another version from now on, and return what it takes to find that."""
    endpoint.answers, endpoint.calls, endpoint.words = answers, 0, 0
    began = watch.now
    found = watch.until_alarm(MOST_DAYS)
    return Found((watch.now - began) / HOUR if found else None, endpoint.calls, endpoint.words)


def run(name: str, seed: int) -> Found | None:
    """Return what came of a change after seven quiet days; None where those alarmed."""
    base, other = pool("base_A", "base_B"), pool(name)
    prompts = sorted(set(base) & set(other))[:PROMPTS]
    dice = random.Random(f"{name} {seed}")
    endpoint = Endpoint(drawn(base, dice))
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place,
        FakeProvider({"smollm2": endpoint.answer}) as provider,
    ):
        pin(Ledger(Path(place)), pins(prompts, provider.url))
        watch = Watch(Path(place), provider.url, time.time() - 60 * DAY)
        alarmed = watch.until_alarm(QUIET_DAYS)
        found = None if alarmed else change(watch, endpoint, drawn(other, dice))
        watch.stop()
    return found


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    prepare()
    false = 0
    for told, name in CHANGES.items():
        for seed in range(seeds):
            found = run(name, seed)
            false += found is None
            print(f"{told}, seed {seed}: {found or 'a false alarm before it'}", flush=True)
    print(f"{len(CHANGES) * seeds} times {QUIET_DAYS} quiet days: {false} false alarms")


def prepare() -> None:
    """Say what is asked; a clock that jumps asks more in a minute than a cap would allow."""
    logging.disable(logging.WARNING)
    os.environ["PROMPTGUARD_REPLAY__BUDGET__CALLS_PER_MINUTE"] = "1000000"
    print(
        f"{PROMPTS} prompts, {2 * ANSWERS} to {3 * ANSWERS} calls a round and prompt, a round every {EVERY / HOUR:.0f} h",
        flush=True,
    )


if __name__ == "__main__":
    main()
