"""`promptguard prompts certify` and `certificates`: whether a version works on a model as it did before."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from promptguard.cli import exits
from promptguard.cli.place import who
from promptguard.errors import ConfigurationError

_EXITS = {"certified": exits.NO_DRIFT, "drifted": exits.DRIFT}

Folder = Annotated[str, typer.Option("--prompts", help="the folder of prompts")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
On = Annotated[str, typer.Option("--on", help="the model that is examined, as it is asked for")]
Against = Annotated[
    str | None, typer.Option(metavar="VERSION/MODEL", help="the reference, such as triage@3/gpt-5.1")
]
BudgetOption = Annotated[
    str | None,
    typer.Option(metavar="2usd|200calls", help="the hard cap of what is asked; without one nothing is asked"),
]
PriceOption = Annotated[
    str | None,
    typer.Option(metavar="IN,OUT", help="USD per million tokens, where the price list does not know a model"),
]
Client = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="returns the SDK client to ask with; by default the SDK's own from the environment",
    ),
]
RecordedFiles = Annotated[
    list[str] | None,
    typer.Option("--recorded", metavar="FILE", help="recorded answers, one a line; may be repeated"),
]
PairsOption = Annotated[
    str | None, typer.Option("--pairs", metavar="FILE", help="pairs.jsonl: control is the reference's answer")
]
LedgerOption = Annotated[
    str | None,
    typer.Option("--ledger", metavar="DIR", help="take stored questions of the reference from this ledger"),
]
Epsilon = Annotated[
    float | None,
    typer.Option(
        help="the largest shift that is let pass, a share of answers; by default the file's tolerance, else 0.1"
    ),
]
Alpha = Annotated[float, typer.Option(help="chance of a wrong certificate, and of a wrong alarm, at most")]
Rules = Annotated[str | None, typer.Option(help="a TOML file with rules of compatibility of your own")]
Fresh = Annotated[bool, typer.Option("--fresh", help="begin anew, not where an interrupted run ended")]
AtOnce = Annotated[int, typer.Option(min=1, max=32, help="questions asked at a time")]


def certify(
    reference: Annotated[str, typer.Argument(metavar="VERSION", help="what is examined, such as triage@4")],
    on: On,
    against: Against = None,
    budget: BudgetOption = None,
    price: PriceOption = None,
    client: Client = None,
    recorded: RecordedFiles = None,
    pairs: PairsOption = None,
    ledger: LedgerOption = None,
    epsilon: Epsilon = None,
    alpha: Alpha = 0.05,
    rules: Rules = None,
    fresh: Fresh = False,
    at_once: AtOnce = 4,
    folder: Folder = "prompts",
    as_json: AsJson = False,
) -> None:
    """Examine whether a version works on a model as the reference does, and keep the result beside the prompts.

    Ends as soon as it is known either way. Exit codes: 0 certified, 1 drifted, 2 wrong use, 3 neither is known.
    """
    from promptguard.certifying.outcome import certificate_of
    from promptguard.certifying.run import Subject
    from promptguard.certifying.values import Side
    from promptguard.cli.examining import Asked, carry_out, read_recorded, reference_side, wish_of
    from promptguard.sources.library import open_as_set

    library = open_as_set(folder)
    subject = Side(library.get(reference), on)
    asked = Asked(budget, price, client, recorded or (), pairs, ledger, rules, fresh, at_once)
    compared = reference_side(library, against, subject.prompt.name)
    check_asked(asked.budget, asked.files)
    wish = wish_of(compared, subject, epsilon, alpha)
    known = read_recorded(asked, compared, subject)
    course = carry_out(library, compared, [Subject(subject)], wish, asked, known)
    written = library.certify(certificate_of(course, course.found[0], wish, by=who(), source=asked.source))
    if as_json:
        json.dump(
            {**written.to_dict(), "resumed": course.resumed, "missing": course.missing}, sys.stdout, indent=2
        )
        sys.stdout.write("\n")
    else:
        from promptguard.terminal.certificates import show_certificate

        show_certificate(written.to_dict(), resumed=course.resumed, missing=course.missing)
    raise typer.Exit(_EXITS.get(written.status, exits.UNMEASURED))


def check_asked(budget: str | None, files: list[str]) -> None:
    """Raise ConfigurationError where nothing may be asked and nothing was recorded, and for no budget."""
    from promptguard.certifying.spending import parsed_budget

    if budget is not None:
        parsed_budget(budget)
    if budget is None and not files:
        raise ConfigurationError(
            "there is no budget: write --budget 2usd, the hard cap of what is asked, or give recorded answers with"
            " --recorded FILE or --pairs FILE"
        )


def certificates(
    prompt: Annotated[str | None, typer.Argument(metavar="NAME", help="the prompt; by default all")] = None,
    history: Annotated[
        bool, typer.Option("--history", help="every examination and withdrawal, newest first")
    ] = False,
    folder: Folder = "prompts",
    as_json: AsJson = False,
) -> None:
    """Show what is known of every version on every model: certified, drifted, untested, withdrawn or expired.

    Exit codes: 0, 2 there is no such prompt.
    """
    from promptguard.sources.library import open_as_set
    from promptguard.templates.told import told_matrix
    from promptguard.terminal.certificates import show_lines, show_matrix

    library = open_as_set(folder)
    if history:
        lines = [line.to_dict() for line in library.certificates(prompt)]
        if as_json:
            json.dump(lines, sys.stdout, indent=2, ensure_ascii=False)
            sys.stdout.write("\n")
        else:
            show_lines(lines)
        return
    names = [prompt] if prompt is not None else library.names()
    told = [told_matrix(library, name) for name in names]
    if as_json:
        json.dump(told, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        for each in told:
            show_matrix(each)


def withdraw(
    reference: Annotated[str, typer.Argument(metavar="VERSION", help="such as triage@4")],
    on: On,
    why: Annotated[str, typer.Option(help="why, kept in the history")] = "",
    folder: Folder = "prompts",
    as_json: AsJson = False,
) -> None:
    """Withdraw what certifies a version on a model. Exit codes: 0 withdrawn, 2 nothing certifies it."""
    from promptguard.sources.library import open_as_set
    from promptguard.terminal.certificates import show_lines

    library = open_as_set(folder)
    prompt = library.get(reference)
    lines = library.withdraw(f"{prompt.name}@{prompt.version}", on, why=why, by=who())
    if not lines:
        raise ConfigurationError(f"nothing certifies {prompt.name}@{prompt.version} on {on}")
    told = [line.to_dict() for line in lines]
    if as_json:
        json.dump(told, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        show_lines(told)
