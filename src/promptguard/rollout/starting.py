"""How a rollout begins, and what people may do to one that is under way."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from promptguard.core.mistakes import nearest
from promptguard.core.rollouts import GUARDS, MODEL, Rollout, folded
from promptguard.errors import ConfigurationError
from promptguard.ledger.reading import reading
from promptguard.ledger.rollouts import Rollouts
from promptguard.ledger.store import Ledger
from promptguard.sources.library import open_prompts
from promptguard.templates.library import PromptLibrary
from promptguard.templates.prompt import Prompt

STEPS: Final = (1.0, 5.0, 25.0, 100.0)
ALPHA: Final = 0.05
TOLERANCE: Final[Mapping[str, float]] = MappingProxyType(
    {"usable": 0.02, "refusal": 0.02, "cost": 0.1, "latency": 0.2, "behaviour": 0.0}
)
"""Worsening that is no evidence: of a share, or, of cost and latency, relative to the old version's."""
MOST: Final[Mapping[str, float]] = MappingProxyType(
    {"usable": 0.1, "refusal": 0.1, "cost": 0.3, "latency": 0.3, "behaviour": 1.0}
)
"""What must be ruled out before all units may have the new version."""
LEAST_PAIRS: Final = 10
PATIENCE: Final = 1_000
Act = Literal["pause", "resume", "abort"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A rollout that is wanted. `subject` is `triage@4` or `model:gpt-4`; `before` is None for where the label stands."""

    subject: str
    before: str | None
    to: str | None
    guards: Sequence[str]
    steps: Sequence[float] = STEPS
    label: str = "production"
    folder: str = "prompts"
    alpha: float = ALPHA
    tolerance: Mapping[str, float] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)
    least_pairs: int = LEAST_PAIRS
    patience: int = PATIENCE


def start(ledger: str | Path, plan: Plan, *, by: str, why: str, at: float | None = None) -> Rollout:
    """Begin a rollout; running processes follow within two seconds.

    Raises ConfigurationError, or UnknownPrompt, in one line that says what to write.
    """
    subject, before, to, label, folder = _model(plan) if plan.subject.startswith(MODEL) else _prompt(plan)
    guards = _guards(plan.guards)
    _check_numbers(plan)
    detail = {
        "subject": subject, "before": before, "to": to, "label": label, "folder": folder, "steps": _steps(plan.steps),
        "guards": guards, "alpha": plan.alpha, "tolerance": _given("tolerance", plan.tolerance, TOLERANCE),
        "most": _given("most", plan.most, MOST), "least_pairs": plan.least_pairs, "patience": plan.patience,
        "salt": secrets.token_bytes(16).hex(),
    }  # fmt: skip
    opened = Ledger(ledger)
    try:
        store = Rollouts(opened)
        begun = time.time() if at is None else at
        number = store.begin(at=begun, by=by, why=why, detail=detail, check=partial(_check_free, subject))
        return _all(store)[number]
    finally:
        opened.close()


def _check_free(subject: str, steps: Sequence[Mapping[str, Any]]) -> None:
    """Raise ConfigurationError where another rollout of the subject still says who gets what."""
    live = next((each for each in folded(steps, {}).values() if each.subject == subject and each.share), None)
    if live is not None and (live.is_live or live.is_model):
        raise ConfigurationError(
            f"rollout {live.number} of {subject} ({live.before} -> {live.to}) is {live.state}: end it first with"
            f" `promptguard rollout abort {live.number}`"
        )


def act(ledger: str | Path, which: int | str | None, what: Act, *, by: str, why: str) -> Rollout:
    """Pause, resume or abort the rollout `which` (as for `chosen`), the one that is under way where none is named.

    Raises ConfigurationError where there is none, or it has ended.
    """
    with reading(ledger):
        pass  # one that is not there is said, and not made
    opened = Ledger(ledger)
    try:
        store = Rollouts(opened)
        known = _all(store)
        rollout = _meant(known, which)
        if not rollout.is_live and not (what == "abort" and rollout.is_model and rollout.state == "done"):
            after = (
                f"; to go back, `promptguard prompts rollback {rollout.subject} --label {rollout.label}`"
                if rollout.state == "done" else ""
            )  # fmt: skip
            raise ConfigurationError(f"rollout {rollout.number} has ended ({rollout.state}){after}")
        if (what == "pause") == (rollout.state == "paused") and what != "abort" and rollout.state != "held":
            raise ConfigurationError(f"rollout {rollout.number} is {rollout.state} already")
        store.note(rollout.number, what, at=time.time(), by=by, why=why, detail={})
        return _all(store)[rollout.number]
    finally:
        opened.close()


def _all(store: Rollouts) -> dict[int, Rollout]:
    return folded(store.steps_after(0), {})


def chosen(known: Mapping[int, Rollout], which: int | str) -> Rollout:
    """Return the rollout of a number, or of what is rolled out (`triage`, `triage@4`, `model:gpt-4`).

    Of several the one under way, else the newest. Raises ConfigurationError where there is none.
    """
    text = str(which)
    found = [
        each
        for each in known.values()
        if text in (str(each.number), each.subject, f"{each.subject}@{each.to}")
    ]
    if found:
        return max(found, key=lambda each: (each.is_live, each.number))
    there = ", ".join(f"{each.number} ({_what(each)})" for each in known.values()) or "none"
    raise ConfigurationError(f"there is no rollout {text}; there are: {there}")


def _what(rollout: Rollout) -> str:
    return rollout.subject if rollout.is_model else f"{rollout.subject}@{rollout.to}"


def _meant(known: Mapping[int, Rollout], which: int | str | None) -> Rollout:
    if which is not None:
        return chosen(known, which)
    live = [each for each in known.values() if each.is_live]
    if len(live) != 1:
        there = ", ".join(f"{each.number} ({each.subject})" for each in live)
        raise ConfigurationError(
            f"several rollouts are under way: say which one, {there}" if live else "no rollout is under way"
        )
    return live[0]


def _model(plan: Plan) -> tuple[str, str, str, str, str]:
    asked = plan.subject.removeprefix(MODEL)
    if not asked or not plan.to or plan.to == asked:
        example = asked or "gpt-4"
        raise ConfigurationError(
            f"a rollout of a model needs two of them: `promptguard rollout start model:{example} --to {example}-0613"
            " --guard usable,refusal,cost,latency`"
        )
    if plan.before not in (None, asked):
        raise ConfigurationError(f"--from is {asked} where a model is rolled out: leave it out")
    return plan.subject, asked, plan.to, "", ""


def _prompt(plan: Plan) -> tuple[str, str, str, str, str]:
    library = open_prompts(plan.folder)
    new = library.get(plan.subject)
    stands = library.labels(new.name).get(plan.label)
    reference = plan.before if plan.before is not None else stands
    if reference is None:
        raise ConfigurationError(
            f"{new.name} has no label {plan.label!r}: say what is in use with --from {new.name}@VERSION, or put the label"
            f" with `promptguard prompts label {new.name}@VERSION {plan.label}`"
        )
    old = library.get(reference if "@" in reference else f"{new.name}@{reference}")
    if plan.to is not None:
        raise ConfigurationError(
            "--to is for models; a prompt's new version stands first: `promptguard rollout start NAME@VERSION`"
        )
    if old.name != new.name or old.version == new.version:
        raise ConfigurationError(
            f"a rollout goes from one version of a prompt to another: {old.name}@{old.version} -> {new.name}@{new.version}"
        )
    _check_inputs(old, new)
    _check_label(library, new.name, plan.label, stands, old.version)
    return new.name, old.version, new.version, plan.label, library.place


def _check_inputs(old: Prompt, new: Prompt) -> None:
    """Raise ConfigurationError where no application can give both versions the same variables."""
    for this, other in ((new, old), (old, new)):
        lacks = sorted(this.demanded - other.inputs.keys())
        if lacks:
            raise ConfigurationError(
                f"{this.name}@{this.version} needs {lacks[0]!r}, which {other.name}@{other.version} does not have, and both"
                f" are given the same: save a version with a default for it, `inputs: {{{lacks[0]}: {{default: ...}}}}`"
            )


def _check_label(library: PromptLibrary, name: str, label: str, stands: str | None, before: str) -> None:
    if stands not in (None, before):
        raise ConfigurationError(
            f"{name}@{label} stands on version {stands}, not on {before}: use --from {name}@{stands}, or put it there with"
            f" `promptguard prompts label {name}@{before} {label}`"
        )
    if stands is None and library.labels(name) and label != "production":
        there = ", ".join(sorted(library.labels(name)))
        raise ConfigurationError(f"{name} has no label {label!r}; its labels: {there}")


def _guards(given: Sequence[str]) -> list[str]:
    wanted = [each.strip() for each in given if each.strip()]
    if not wanted:
        raise ConfigurationError(
            "a rollout needs a guardrail: add --guard usable,refusal,cost,latency (or behaviour, for any difference)"
        )
    for each in wanted:
        if each not in GUARDS:
            meant = nearest(each, GUARDS)
            hint = f" (did you mean {meant!r}?)" if meant else ""
            raise ConfigurationError(
                f"--guard {each}: there is no such guard{hint}; there are {', '.join(GUARDS)}"
            )
    return list(dict.fromkeys(wanted))


def _steps(given: Sequence[float]) -> list[float]:
    steps = [float(step) for step in given]
    rising = all(before < after for before, after in pairwise(steps))
    if len(steps) < 2 or not rising or not steps[0] > 0.0 or steps[-1] != 100.0:
        raise ConfigurationError("--steps are rising percentages, the last of them 100, such as 1,5,25,100")
    return steps


def _given(name: str, given: Mapping[str, float], default: Mapping[str, float]) -> dict[str, float]:
    for guard, value in given.items():
        if guard not in GUARDS or not 0.0 <= value <= 10.0:
            raise ConfigurationError(
                f"--{name} {guard}={value:g}: write a guard and a share, such as usable=0.02"
            )
    return {**default, **given}


def _check_numbers(plan: Plan) -> None:
    if not 1e-6 <= plan.alpha <= 0.5:
        raise ConfigurationError(f"--alpha {plan.alpha:g}: a probability such as 0.05, at most 0.5")
    if plan.least_pairs < 1 or plan.patience < plan.least_pairs:
        raise ConfigurationError("--least-pairs is at least 1, and --patience at least that")


def summary(rollout: Rollout) -> dict[str, Any]:
    """Return a rollout as JSON has it; the salt, which would tell who gets what, is left out."""
    return {
        "number": rollout.number, "subject": rollout.subject, "from": rollout.before, "to": rollout.to,
        "label": rollout.label or None, "folder": rollout.folder or None, "state": rollout.state,
        "share": rollout.share, "step": rollout.step, "steps": list(rollout.steps), "guards": list(rollout.guards),
        "alpha": rollout.alpha, "tolerance": dict(rollout.tolerance), "most": dict(rollout.most),
        "least_pairs": rollout.least_pairs, "patience": rollout.patience, "began": rollout.began,
        "changed": rollout.changed, "why": rollout.why,
    }  # fmt: skip
