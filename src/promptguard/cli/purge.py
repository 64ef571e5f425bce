"""`promptguard purge`: delete what is kept of one subject."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from promptguard.cli.exits import WRONG_USE
from promptguard.cli.place import OPTION, ledger_or_setting, who

SHORT = "delete what ledger and cache keep of one subject"
EXAMPLES = ("promptguard purge --subject user-17",)


def run(
    subject: Annotated[
        str, typer.Option(help="whom it is about, as given to `with promptguard.subject(...)`")
    ],
    ledger: Annotated[str | None, OPTION] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Delete recorded texts, stored requests, features of answers and cached answers of one subject, and say what it was.

    Exit codes: 0 removed, or there was nothing; 2 wrong use, or bytes may be left as another process read for too long.
    """
    from promptguard.purging import purge

    done = purge(ledger_or_setting(ledger), subject=subject, by=who())
    if as_json:
        json.dump(asdict(done), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        removed = (
            (done.pairs, "pair", "features and labels of their answers; the pairs stay counted"),
            (done.texts, "recorded text", "question and both answers"),
            (done.stored, "stored request", "with its answer"),
            (done.cached, "cached answer", "of this ledger's cache"),
            (done.waiting, "waiting pair", "on this machine, for a database that was away"),
            (done.told, "alarm", "words of answers replaced"),
        )
        for count, what, more in removed:
            if count:
                sys.stdout.write(f"removed: {count:,} {what}{'' if count == 1 else 's'} ({more})\n")
        if done.judged_anew:
            sys.stdout.write("the detector's memory held words of these answers: verdicts are made anew\n")
        if not any(count for count, _, _ in removed):
            sys.stdout.write(
                "nothing is kept of this subject; with another secret than the applications have, nothing is found\n"
            )
        for place in done.unseen:
            sys.stderr.write(
                f"answers were also cached on {place}, which was not looked at: set PROMPTGUARD_CACHE to it, run it again\n"
            )
    if done.unseen:
        raise typer.Exit(WRONG_USE)
    if not done.expunged:
        sys.stderr.write(
            "another process reads or delivers: bytes may be left in its files; run it again in a moment\n"
        )
        raise typer.Exit(WRONG_USE)
