"""`promptguard demo`: the main job on real recorded answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptguard.cli import exits

if TYPE_CHECKING:
    from rich.console import Console

    from promptguard.demo.story import Options, Outcome

SHORT = "see a change found, on real recorded answers"
EXAMPLES = (
    "promptguard demo",
    "promptguard demo --no-switch          the same without a change: no alarm",
    "promptguard demo --task leetcode --json",
)


def run(
    task: Annotated[str, typer.Option(help="prime, sensitive or leetcode")] = "prime",
    family: Annotated[str, typer.Option(help="gpt-4 or gpt-3.5")] = "gpt-4",
    seed: Annotated[int, typer.Option(help="order of questions, sampling and the moment of the change")] = 1,
    no_switch: Annotated[bool, typer.Option("--no-switch", help="the provider changes nothing")] = False,
    ledger: Annotated[Path, typer.Option(help="directory, made anew each time")] = Path("promptguard-demo"),
    output: Annotated[Path, typer.Option("-o", "--output", help="the report page")] = Path(
        "promptguard-report.html"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="print the figures as JSON")] = False,
) -> None:
    """Watch GPT-4 of March 2023 become GPT-4 of June 2023 behind one name, on real recorded answers.

    Exit codes: 0 the story came out as told, 1 it did not, 2 wrong use.
    """
    import logging

    from promptguard.dashboard.file import check_writable, write_private
    from promptguard.dashboard.page import render_report
    from promptguard.demo.story import Options
    from promptguard.demo.telling import examples, sections, tell
    from promptguard.report.full import full_report
    from promptguard.report.whole import read_whole
    from promptguard.terminal.verdict import console

    options = Options(
        task=task, family=family, seed=seed, switch=not no_switch, ledger=ledger, start=_two_days_ago()
    )
    logging.getLogger("promptguard").setLevel(logging.ERROR)  # the alarm is told below, in full
    check_writable(output)  # told now, not after the story
    outcome = _played(options, quiet=as_json)
    report = full_report(ledger)
    told = tell(outcome, report)
    whole = read_whole(ledger, application="demo")
    write_private(output, render_report(whole, extra=sections(told), true_switch=outcome.switch_call))
    if as_json:
        json.dump({**told, "report": str(output)}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        from promptguard.demo.show import show

        out = console()
        show(told, report, out, examples(report))
        _close(out, told, output)
    raise typer.Exit(exits.NO_DRIFT if told["as_told"] else exits.DRIFT)


def _two_days_ago() -> float:
    """Return when the story begins, so that its pages show the last days: at midnight UTC, for a story of one day."""
    import time

    day = 86_400.0
    return time.time() // day * day - 2 * day


def _played(options: Options, *, quiet: bool) -> Outcome:
    """Run the story, with a progress bar on standard error when a person is there to see it."""
    from promptguard.demo.story import run as play

    if quiet or not sys.stderr.isatty():
        return play(options)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("calls", total=None)
        return play(options, lambda done, total: progress.update(bar, completed=done, total=total))


def _close(out: Console, told: dict[str, Any], output: Path) -> None:
    out.print()
    ending = "came out as told" if told["as_told"] else "did NOT come out as told"
    out.print(f"the story {ending}", style="bold")
    command = _command()
    for label, line in (
        ("page", str(output)),
        ("look on", f"{command} status --ledger {told['ledger']}"),
        ("", f"{command} report --ledger {told['ledger']} -o report.html"),
        ("open", f"{command} dashboard --ledger {told['ledger']} --open"),
    ):
        out.print(f"  {label:8s} {line}", highlight=False)


def _command() -> str:
    """Return what calls this command here: the environment of `make demo` is on nobody's PATH."""
    import shutil

    called = Path(sys.argv[0])
    if shutil.which("promptguard") or called.name != "promptguard":
        return "promptguard"
    return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)
