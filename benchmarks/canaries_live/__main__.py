"""Canaries by a watch on a live open model: seven quiet days, then each of three changes from there, in simulated time.

    make canaries-live

The model of `make demo-llm` answers every call; nothing asks it but the watch. After the quiet days the ledger is copied,
so that each change meets the same past: a style fine-tune (LoRA), a coarser quantisation of all weights, and a system
prompt that the provider puts before every conversation. Told are prompts, calls, words of answers and simulated hours.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from benchmarks.canaries import (
    DAY,
    MOST_TOKENS,
    PROMPTS,
    QUIET_DAYS,
    Endpoint,
    Watch,
    change,
    pins,
    prepare,
)
from benchmarks.canaries_live.requantised import requantise
from tests.drift.recorded import SAME_MODEL, lines

from promptguard.demo.live.server import MODEL_NAME, weights
from promptguard.ledger.canaries import pin
from promptguard.ledger.store import Ledger
from promptguard.testing import FakeProvider

HIDDEN = "You are a cautious assistant of a bank. Be formal and brief, and never use lists."
READY_SECONDS = 60.0


class Model:
    """A served model; `instruction` is the provider's own, which no caller sees."""

    def __init__(self, url: str, instruction: str | None = None) -> None:
        self._url, self._instruction = url, instruction

    def __call__(self, prompt: str) -> str:
        """Answer a prompt as the endpoint does."""
        system = [] if self._instruction is None else [{"role": "system", "content": self._instruction}]
        body = {
            "model": MODEL_NAME,
            "messages": [*system, {"role": "user", "content": prompt}],
            "temperature": 0.7,
            "max_tokens": MOST_TOKENS,
        }
        answer = _post(f"{self._url}/v1/chat/completions", body)
        return str(answer["choices"][0]["message"]["content"])

    def tuned(self, strength: float) -> None:
        """Switch the adapter on that the server has loaded, or off."""
        _post(f"{self._url}/lora-adapters", [{"id": 0, "scale": strength}])


def _post(url: str, body: object) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


@contextmanager
def served(adapter: str, model: Path) -> Iterator[str]:
    """Serve a model file in a process of its own; yields its URL."""
    command = [sys.executable, "-m", "promptguard.demo.live.server", adapter, str(model)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url = str(json.loads(server.stdout.readline())["url"])
        _wait(url)
        try:
            yield url
        finally:
            server.stdin.close()
            server.terminate()


def _wait(url: str) -> None:
    until = time.monotonic() + READY_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


def main() -> int:
    """Play the quiet days once and each change after them; 1 where one was not found or the quiet days alarmed."""
    prepare()
    adapter = resources.files("promptguard.demo.live") / "lora_style_r2.gguf"
    prompts = _prompts()[:PROMPTS]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as named,
        resources.as_file(adapter) as style,
    ):
        place = Path(named)
        changed = requantise(weights(), place / "coarser.gguf")
        print(f"{changed} tensors as Q4_0 has them", flush=True)
        with served(str(style), weights()) as url, served(str(style), place / "coarser.gguf") as other:
            return _play(place, prompts, Model(url), Model(other), Model(url, HIDDEN))


def _prompts() -> list[str]:
    """Return the recorded prompts' texts, of each kind in turn."""
    kinds: dict[str, dict[str, None]] = {}
    for line in lines(SAME_MODEL / "base_A.jsonl.gz"):
        kinds.setdefault(line["template_id"], {})[line["prompt"]] = None
    ordered = [list(each) for each in kinds.values()]
    longest = max(len(each) for each in ordered)
    return [each[number] for number in range(longest) for each in ordered if number < len(each)]


def _play(place: Path, prompts: list[str], model: Model, coarser: Model, instructed: Model) -> int:
    endpoint = Endpoint(model)
    with FakeProvider({"smollm2": endpoint.answer}) as provider:
        pin(Ledger(place / "past"), pins(prompts, provider.url))
        watch = Watch(place / "past", provider.url, time.time() - 60 * DAY)
        alarmed = watch.until_alarm(QUIET_DAYS)
        watch.stop()
        print(
            f"{QUIET_DAYS} quiet days: {'A FALSE ALARM' if alarmed else 'no alarm'},"
            f" {endpoint.calls} calls, {endpoint.words} words of answers",
            flush=True,
        )
        missed = 0
        for told, answers, strength in (
            ("a style fine-tune (LoRA)", model, 1.0),
            ("a coarser quantisation (Q4_0 for Q4_1)", coarser, 0.0),
            ("a hidden system prompt", instructed, 0.0),
        ):
            model.tuned(strength)
            missed += _changed(place, told, endpoint, answers, provider.url, watch.now)
    return int(alarmed or missed > 0)


def _changed(
    place: Path, told: str, endpoint: Endpoint, answers: Callable[[str], str], url: str, now: float
) -> bool:
    copy = place / f"after {told}"
    shutil.copytree(place / "past", copy)
    watch = Watch(copy, url, now)
    found = change(watch, endpoint, answers)
    watch.stop()
    print(f"{told}: {found}", flush=True)
    return found.hours is None


if __name__ == "__main__":
    sys.exit(main())
