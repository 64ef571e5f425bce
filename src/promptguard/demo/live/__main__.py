"""`python -m promptguard.demo.live`: watch a live open model being fine-tuned silently."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from promptguard.errors import PromptGuardError

if TYPE_CHECKING:
    from promptguard.demo.live.story import Outcome


def main() -> int:
    """Play, print, write the page; 0 the story came out as told, 1 it did not, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m promptguard.demo.live", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="order of the questions")
    parser.add_argument("--no-switch", action="store_true", help="the adapter stays off")
    parser.add_argument("--strength", type=float, default=1.0, help="of the adapter after the switch")
    parser.add_argument("--ledger", type=Path, default=Path("promptguard-demo-llm"))
    parser.add_argument("-o", "--output", type=Path, default=Path("promptguard-llm-report.html"))
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    try:
        return _played(given)
    except PromptGuardError as error:
        sys.stderr.write(f"promptguard: {error}\n")
        return 2


def _played(given: argparse.Namespace) -> int:
    from promptguard.dashboard import render_report
    from promptguard.dashboard.file import check_writable, write_private
    from promptguard.demo.live.story import Options, run
    from promptguard.report.whole import read_whole

    logging.getLogger("promptguard").setLevel(logging.ERROR)  # the alarm is told below, in full
    check_writable(given.output)
    outcome = run(Options(given.ledger, given.seed, not given.no_switch, given.strength), _progress)
    write_private(given.output, render_report(read_whole(given.ledger, application="demo")))
    told = tell(outcome)
    if given.json:
        json.dump({**told, "report": str(given.output)}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _show(outcome, told, given.output)
    return 0 if outcome.as_told else 1


def tell(outcome: Outcome) -> dict[str, object]:
    """Return the figures of a run."""
    return {
        "as_told": outcome.as_told,
        "switch": outcome.options.switch,
        "calls": outcome.calls,
        "replayed": outcome.verdict.pairs,
        "reported": sorted(outcome.names),
        "pairs_from_switch_to_alarm": outcome.pairs_to_alarm,
        "seconds": round(outcome.seconds, 1),
        "faults": outcome.faults,
        "verdict": outcome.verdict.to_dict(),
    }


def _show(outcome: Outcome, told: dict[str, object], page: Path) -> None:
    from promptguard.terminal.verdict import console, verdict_parts

    out = console()
    (model, fingerprint), *_ = sorted(outcome.names)
    out.print(
        f"{told['calls']} calls of assist@1 to {model}, a real model on this machine; {told['replayed']} asked again"
    )
    if outcome.options.switch:
        out.print(
            f"after pair 120 a LoRA adapter was switched on behind the endpoint; model and fingerprint ({fingerprint}) "
            "stayed what they were"
        )
    else:
        out.print("the adapter stayed off: nothing changed")
    for part in verdict_parts(outcome.verdict):
        out.print(part)
    if told["pairs_from_switch_to_alarm"] is not None:
        out.print(f"alarm {told['pairs_from_switch_to_alarm']} replayed pairs after the switch")
    ending = "came out as told" if told["as_told"] else "did NOT come out as told"
    out.print(f"the story {ending}, in {outcome.seconds:.0f} s; page: {page}", style="bold")


def _progress(what: str, done: int, every: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{what}: {done} of {every}   ")
        if done == every:
            sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
