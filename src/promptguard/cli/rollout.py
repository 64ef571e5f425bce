"""`promptguard rollout`: move traffic to a new version only as fast as the evidence allows."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from promptguard.cli.place import OPTION, ledger_or_setting, who
from promptguard.errors import ConfigurationError

if TYPE_CHECKING:
    from promptguard.rollout.starting import Act

SHORT = "move traffic to a new version step by step: start, status, pause, resume, abort, history"
app = typer.Typer(
    help="Move traffic to a new version of a prompt or model, only as fast as the evidence allows.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Where = Annotated[str | None, OPTION]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Which = Annotated[
    str | None,
    typer.Argument(
        metavar="[NUMBER|NAME]",
        help="which rollout, or what is rolled out (triage, triage@4, model:gpt-4); by default the one under way",
    ),
]
Why = Annotated[str, typer.Option(help="why, kept in the history")]
By = "guard=share, may be given several times"


@app.callback()
def _rollout() -> None:
    """Move traffic to a new version of a prompt or model, only as fast as the evidence allows."""


def _print_json(told: object) -> None:
    json.dump(told, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


@app.command()
def start(
    subject: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="the new version, or model:NAME")],
    guard: Annotated[
        str, typer.Option(help="what must not get worse: usable,refusal,cost,latency,behaviour")
    ] = "",
    before: Annotated[
        str | None, typer.Option("--from", help="the version in use; by default the label's")
    ] = None,
    to: Annotated[str | None, typer.Option(help="for model:NAME, the model that calls go to instead")] = None,
    steps: Annotated[str, typer.Option(help="shares of the units in percent")] = "1,5,25,100",
    label: Annotated[str, typer.Option(help="the label that stands for the version in use")] = "production",
    alpha: Annotated[float, typer.Option(help="probability of a false rollback, at most")] = 0.05,
    tolerance: Annotated[list[str] | None, typer.Option(help=f"worsening that is no evidence: {By}")] = None,
    most: Annotated[
        list[str] | None, typer.Option(help=f"worsening to rule out before the end: {By}")
    ] = None,
    least_pairs: Annotated[int, typer.Option(help="pairs that each step needs at least")] = 10,
    patience: Annotated[int, typer.Option(help="pairs of a step after which it is held")] = 1_000,
    why: Why = "",
    folder: Annotated[str, typer.Option("--prompts", help="the folder of prompts")] = "prompts",
    ledger: Where = None,
    as_json: AsJson = False,
) -> None:
    """Begin to give a new version to a share of the units; running processes follow within two seconds.

    Exit codes: 0 begun, 2 no guardrail, no such version, or a rollout of it is under way.
    """
    from promptguard.rollout.starting import Plan, start, summary
    from promptguard.terminal.rollouts import headline
    from promptguard.terminal.verdict import console

    plan = Plan(
        subject, before, to, guard.split(","), _numbers(steps), label, folder, alpha, _shares("tolerance", tolerance),
        _shares("most", most), least_pairs, patience,
    )  # fmt: skip
    told = summary(start(ledger_or_setting(ledger), plan, by=who(), why=why))
    _print_json(told) if as_json else console(unbroken=True).print(headline(told))


@app.command()
def status(which: Which = None, ledger: Where = None, as_json: AsJson = False) -> None:
    """Show where rollouts stand and on what evidence: those under way, else the newest.

    Exit codes: 0, 2 there is no such rollout or ledger.
    """
    from promptguard.report.rollouts import read_rollouts
    from promptguard.terminal.rollouts import show_rollouts

    known = read_rollouts(ledger_or_setting(ledger), which)
    if as_json:
        _print_json(known)
        return
    live = [each for each in known if each["state"] in ("running", "held", "paused")]
    show_rollouts(known if which is not None else live or known[:1])


@app.command()
def pause(which: Which = None, why: Why = "", ledger: Where = None, as_json: AsJson = False) -> None:
    """Take no further step; a rollback may still come. Exit codes: 0 paused, 2 nothing to pause."""
    _act("pause", which, why, ledger, as_json=as_json)


@app.command()
def resume(which: Which = None, why: Why = "", ledger: Where = None, as_json: AsJson = False) -> None:
    """Go on after a pause or a hold, at the step it stands at. Exit codes: 0 resumed, 2 nothing to resume."""
    _act("resume", which, why, ledger, as_json=as_json)


@app.command()
def abort(which: Which = None, why: Why = "", ledger: Where = None, as_json: AsJson = False) -> None:
    """Give all units the old version again, in every process within two seconds. Exit codes: 0 done, 2 nothing to abort."""
    _act("abort", which, why, ledger, as_json=as_json)


@app.command()
def history(
    which: Annotated[
        str | None,
        typer.Argument(metavar="[NUMBER|NAME]", help="which rollout, or what is rolled out; by default all"),
    ] = None,
    ledger: Where = None,
    as_json: AsJson = False,
) -> None:
    """Show every step that was taken: when, who, why, and with --json the evidence. Exit codes: 0, 2 no such rollout."""
    from promptguard.report.rollouts import read_steps
    from promptguard.terminal.rollouts import show_steps

    steps = read_steps(ledger_or_setting(ledger), which)
    _print_json(steps) if as_json else show_steps(steps)


def _act(what: Act, which: str | None, why: str, ledger: str | None, *, as_json: bool) -> None:
    from promptguard.rollout.starting import act, summary
    from promptguard.terminal.rollouts import headline
    from promptguard.terminal.verdict import console

    told = summary(act(ledger_or_setting(ledger), which, what, by=who(), why=why))
    _print_json(told) if as_json else console(unbroken=True).print(headline(told))


def _numbers(text: str) -> list[float]:
    try:
        return [float(each.strip().removesuffix("%")) for each in text.split(",")]
    except ValueError:
        raise ConfigurationError(
            f"--steps {text}: write percentages with commas between, such as 1,5,25,100"
        ) from None


def _shares(name: str, given: list[str] | None) -> dict[str, float]:
    found = {}
    for each in (part for one in given or () for part in one.split(",")):
        guard, _, share = each.partition("=")
        try:
            found[guard.strip()] = float(share)
        except ValueError:
            raise ConfigurationError(
                f"--{name} {each}: write a guard and a share, such as usable=0.02"
            ) from None
    return found
