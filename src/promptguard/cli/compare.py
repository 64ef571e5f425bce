"""`promptguard prompts compare`: which versions and remedies restore the old behaviour on a model that changed."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from promptguard.cli import exits
from promptguard.cli.certify import (
    Against,
    Alpha,
    AsJson,
    AtOnce,
    BudgetOption,
    Client,
    Epsilon,
    Folder,
    Fresh,
    LedgerOption,
    On,
    PriceOption,
    RecordedFiles,
    Rules,
    check_asked,
)
from promptguard.errors import ConfigurationError, InputFileError

if TYPE_CHECKING:
    from promptguard.certifying.recorded import Recorded
    from promptguard.certifying.values import Side
    from promptguard.templates.library import PromptLibrary

_EXITS = {"restores": exits.NO_DRIFT, "differs": exits.DRIFT, "open": exits.UNMEASURED}


def compare(
    prompt: Annotated[str, typer.Argument(metavar="NAME", help="the prompt, such as triage")],
    on: On,
    against: Against = None,
    versions: Annotated[
        str | None, typer.Option(metavar="3,4", help="only these; by default all that are for the model")
    ] = None,
    remedy: Annotated[
        list[str] | None,
        typer.Option(
            help="strip-fence, strip-space, only-json, plain-marks; may be repeated; by default all"
        ),
    ] = None,
    budget: BudgetOption = None,
    price: PriceOption = None,
    client: Client = None,
    recorded: RecordedFiles = None,
    ledger: LedgerOption = None,
    epsilon: Epsilon = None,
    alpha: Alpha = 0.05,
    rules: Rules = None,
    fresh: Fresh = False,
    at_once: AtOnce = 4,
    folder: Folder = "prompts",
    as_json: AsJson = False,
) -> None:
    """Say which versions, and which transforms of their answers, restore the old behaviour on a model that changed.

    Each is judged as `certify` judges, alpha divided among them. Exit codes: 0 one restores it, 1 none does, 2 wrong use,
    3 too few pairs to say.
    """
    from promptguard.certifying.comparison import comparison_of, remedies_of, shared_wish, subjects_of
    from promptguard.cli.examining import Asked, carry_out, read_recorded, reference_side, wish_of
    from promptguard.sources.library import open_as_set

    library = open_as_set(folder)
    asked = Asked(budget, price, client, recorded or (), None, ledger, rules, fresh, at_once)
    remedies = remedies_of(remedy or ())
    compared = reference_side(library, against, prompt)
    check_asked(asked.budget, asked.files)
    known = read_recorded(asked, compared, compared)
    sides = _sides(library, prompt, versions, on, known if asked.budget is None else None)
    subjects = subjects_of(sides, remedies)
    wish = shared_wish(wish_of(compared, sides[0], epsilon, alpha), len(subjects))
    course = carry_out(library, compared, subjects, wish, asked, known)
    found = comparison_of(course)
    told = {
        "name": prompt, "on": on, "against": compared.reference, "against_model": compared.model, "alpha": alpha,
        "tolerance": wish.tolerance, "sentence": found.sentence, "reference_usd_per_thousand": found.reference_usd,
        "ended": course.ended, "calls": course.used.calls, "usd": course.used.usd if course.used.calls else None,
        "rows": [asdict(row) for row in found.rows],
    }  # fmt: skip
    if as_json:
        json.dump(told, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        from promptguard.terminal.certificates import show_comparison

        show_comparison(told)
    raise typer.Exit(_EXITS[found.closest.outcome])


def _sides(
    library: PromptLibrary, name: str, versions: str | None, model: str, recorded: Recorded | None
) -> list[Side]:
    """Return the versions to compare: those named, else all for the model that can be asked or were recorded."""
    from promptguard.certifying.values import Side

    if "@" in name:
        raise ConfigurationError(
            f"compare takes a name: write {name.partition('@')[0]} --versions {name.partition('@')[2]}"
        )
    library.get(name)  # names what there is, where there is none of that name
    wanted = [each.strip() for each in versions.split(",")] if versions else library.versions(name)
    sides = [Side(library.get(f"{name}@{version}"), model) for version in reversed(wanted)]
    if versions is None:
        sides = [side for side in sides if side.prompt.is_for(model)]
        if recorded is not None:
            sides = [side for side in sides if (side.reference, model) in recorded.sides]
    if not sides:
        there = "" if recorded is None else f"; recorded are {_listed(recorded.sides)}"
        raise InputFileError(f"no version of {name} is for {model}, or was recorded on it{there}")
    return sides


def _listed(sides: set[tuple[str, str]]) -> str:
    return ", ".join(f"{version}/{model}" for version, model in sorted(sides)[:8]) or "none"
