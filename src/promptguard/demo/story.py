"""The story: an application asks, the model behind its alias changes silently, PromptGuard notices and acts.

Nothing here is scripted but the provider's secret: what is told afterwards is read from the ledger.
"""

from __future__ import annotations

import random
import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import promptguard
from promptguard.demo.application import Application, Used
from promptguard.demo.provider import SilentProvider, draw_switch
from promptguard.demo.recordings import FAMILIES, Recordings
from promptguard.errors import ConfigurationError, MissingExtra
from promptguard.testing import FakeClock

if TYPE_CHECKING:
    from openai import OpenAI

MINUTE = 60.0
"""One call a minute of the demo's clock, so that hours pass in seconds."""
REPEATED = 0.15
"""Share of calls that ask an earlier question again; the cache answers them."""
_LONGEST = 60.0
"""times the shortest wait: a little more than the longest one"""
SETTLE_EVERY = 10
"""Calls between waits for the background, which keeps runs alike on slow machines."""
MARK = "made-by-promptguard-demo"


@dataclass(frozen=True, slots=True)
class Options:
    """What `promptguard demo` was told."""

    task: str = "prime"
    family: str = "gpt-4"
    seed: int = 1
    switch: bool = True
    ledger: Path = Path("promptguard-demo")
    questions: int | None = None
    start: float = 1_699_920_000.0
    """of the demo's clock, in Unix seconds"""


@dataclass(slots=True)
class Tally:
    """Usable answers of one phase, with PromptGuard and without it."""

    calls: int = 0
    cached: int = 0
    usable: int = 0
    usable_without: int = 0


@dataclass(slots=True)
class Outcome:
    """Everything that was measured outside the ledger."""

    options: Options
    model: tuple[str, str, str]
    calls: int = 0
    switch_call: int | None = None
    phases: dict[str, Tally] = field(
        default_factory=lambda: {"before": Tally(), "after": Tally(), "acted": Tally()}
    )
    added_ms: tuple[float, float] = (0.0, 0.0)
    """median and 95th percentile of what a call took longer than the bare client's, in milliseconds"""
    bare_ms: float = 0.0
    not_served: int = 0
    """questions asked again after acting whose cached answer of the changed model was not served"""
    faults: dict[str, int] = field(default_factory=dict)


def run(options: Options, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Outcome:
    """Play the story and return what was measured; the ledger lies in `options.ledger` afterwards.

    Raises ConfigurationError for a task or family that is not recorded, or a directory that is not the demo's own.
    """
    try:
        from openai import OpenAI
    except ImportError as error:
        raise MissingExtra(
            "the demo talks through the openai package: pip install 'promptguard-shadow[demo]'"
        ) from error
    if options.family not in FAMILIES:
        raise ConfigurationError(f"--family {options.family}: give one of {', '.join(FAMILIES)}")
    recordings = Recordings(options.task)
    fresh(options.ledger)
    schedule = _schedule(recordings, options)
    clock = FakeClock(options.start)
    switch_at = draw_switch(options.seed, clock(), len(schedule), MINUTE) if options.switch else None
    outcome = Outcome(options, FAMILIES[options.family], calls=len(schedule))
    prompt = promptguard.prompts(Path(__file__).parent / "prompts").get(f"{options.task}@1")
    alias, before, _ = outcome.model
    with SilentProvider(recordings, options.family, clock=clock, switch_at=switch_at) as provider:
        client = promptguard.wrap(
            OpenAI(base_url=provider.url, api_key="demo"),
            ledger=options.ledger,
            cache="memory",
            shadow=promptguard.Shadow(
                model=before,
                sample=_share(recordings, 0.25),
                budget=promptguard.Budget(usd_per_day=50, calls_per_day=50_000, calls_per_minute=None),
            ),
            replay=promptguard.Replay(share=_share(recordings, 0.3), after=_replay_after(recordings)),
            drift=promptguard.Drift(
                alpha=0.01,
                mode="monitor",
                horizon=max(50, len(recordings.questions)),
                stale_after="7d",  # the demo's clock runs on while stored questions wait
            ),
            on_drift=promptguard.Route(to=before),
            record_content=True,
            clock=clock,
            seed=options.seed,
        )
        with OpenAI(base_url=provider.url, api_key="demo") as bare_client:
            _play(
                schedule,
                outcome,
                clock,
                switch_at,
                guarded=Application(client, prompt, alias, recordings),
                bare=Application(bare_client, prompt, alias, recordings),
                progress=progress,
            )
        if len(recordings.questions) < 200:
            _let_replays_finish(clock, recordings)
        if not promptguard.flush(30.0):
            outcome.faults["the background did not finish in 30 s"] = 1
        outcome.faults.update(_close(client))
    return outcome


def _play(
    schedule: list[str],
    outcome: Outcome,
    clock: FakeClock,
    switch_at: float | None,
    *,
    guarded: Application,
    bare: Application,
    progress: Callable[[int, int], None],
) -> None:
    """Ask every question twice: through the wrapped client, and through a bare one as if PromptGuard were not there."""
    added: list[float] = []
    plain: list[float] = []
    first_asked: dict[str, str] = {}
    routed = False
    for number, question in enumerate(schedule, 1):
        moved = switch_at is not None and clock.advance(MINUTE) >= switch_at
        if moved and outcome.switch_call is None:
            outcome.switch_call = number
        # Which of the two goes first alternates, so that neither always finds the server warm.
        if number % 2:
            with_guard, without = guarded.ask(question), bare.ask(question)
        else:
            without, with_guard = bare.ask(question), guarded.ask(question)
        phase = "before" if not moved else "acted" if routed else "after"
        _count(outcome.phases[phase], with_guard, without)
        was_cached = first_asked.setdefault(question, phase) != "acted"
        outcome.not_served += phase == "acted" and was_cached and not with_guard.cached
        if not with_guard.cached:
            added.append(with_guard.seconds - without.seconds)
            plain.append(without.seconds)
        if number % SETTLE_EVERY == 0:
            promptguard.flush(5.0)
            routed = routed or _is_routed()
            progress(number, len(schedule))
    if len(added) > 1:
        percentiles = statistics.quantiles(added, n=20)
        outcome.added_ms = (statistics.median(added) * 1e3, percentiles[-1] * 1e3)
        outcome.bare_ms = statistics.median(plain) * 1e3


def _count(tally: Tally, with_guard: Used, without: Used) -> None:
    tally.calls += 1
    tally.cached += with_guard.cached
    tally.usable += with_guard.usable
    tally.usable_without += without.usable


def _is_routed() -> bool:
    from promptguard.background.engine import open_backgrounds

    return any(background.state.routes for background in open_backgrounds())


def _let_replays_finish(clock: FakeClock, recordings: Recordings) -> None:
    """Let the time go by that stored questions still wait; with few questions every pair counts."""
    import time

    from promptguard.background.engine import open_backgrounds

    clock.advance((1.0 if _is_short(recordings) else _LONGEST) * _replay_after(recordings))
    for background in open_backgrounds():
        until = time.monotonic() + 10.0
        while background.ledger.banked_count() and time.monotonic() < until:
            time.sleep(0.05)


def _close(client: OpenAI) -> dict[str, int]:
    from promptguard.background.engine import open_backgrounds

    promptguard.unwrap(client)
    client.close()
    faults: dict[str, int] = {}
    for background in open_backgrounds():
        background.close()
        faults.update(background.faults.counts)
    return faults


def _share(recordings: Recordings, share: float) -> float:
    """With few questions every call is sampled."""
    return 1.0 if _is_short(recordings) else share


def _is_short(recordings: Recordings) -> bool:
    return len(recordings.questions) < 200


def _replay_after(recordings: Recordings) -> float:
    """Return the seconds after which the first stored questions are asked again.

    A hundredth of a long story: below a quarter of an hour the longer ages are in proportion, up to 56 times as long, so
    that stored answers from before the change meet new ones for half of it. Of a short story three tenths, since the first
    forty stored answers wait no longer than this.
    """
    count = len(recordings.questions)
    return MINUTE * (max(5.0, 0.3 * count) if _is_short(recordings) else min(0.01 * count, 14.0))


def _schedule(recordings: Recordings, options: Options) -> list[str]:
    """Every question once in random order, with earlier ones asked again in between."""
    rng = random.Random(f"questions {options.seed}")
    fresh = recordings.questions[:]
    rng.shuffle(fresh)
    fresh = fresh[: options.questions]
    schedule: list[str] = []
    for question in fresh:
        schedule.append(question)
        if rng.random() < REPEATED:
            schedule.append(rng.choice(schedule))
    return schedule


def fresh(directory: Path) -> None:
    """Empty the demo's own ledger directory; a directory that is not the demo's is never touched."""
    try:
        if directory.exists():
            if any(directory.iterdir()) and not (directory / MARK).exists():
                raise ConfigurationError(
                    f"{directory} exists and is not the demo's: give --ledger another directory"
                )
            shutil.rmtree(directory)
        directory.mkdir(parents=True, mode=0o700)
        (directory / MARK).write_text("promptguard demo may delete this directory\n")
    except OSError as error:
        raise ConfigurationError(
            f"--ledger {directory} cannot be made ({error.strerror}): give a directory that is writable"
        ) from error
