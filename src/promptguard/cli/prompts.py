"""`promptguard prompts`: versions and labels of a folder of prompts."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from promptguard.cli.certify import certificates, certify, withdraw
from promptguard.cli.compare import compare
from promptguard.cli.exits import WRONG_USE
from promptguard.cli.place import OPTION, ledger_or_setting, who

if TYPE_CHECKING:
    from promptguard.sources.in_ledger import Carried
    from promptguard.templates.library import PromptLibrary

SHORT = "versions of prompts: list, show, compare, check, label, roll back, certify"
app = typer.Typer(
    help="Versions of prompts, and the labels that stand for them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Folder = Annotated[
    str,
    typer.Option(
        "--prompts",
        help="the folder of prompts, or package:NAME/FOLDER, git:REPOSITORY@REFERENCE#FOLDER, ledger:DIR",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Reference = Annotated[str, typer.Argument(help="name@version, name@label, or name for its highest version")]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="prompts; by default all")]
Why = Annotated[str, typer.Option(help="why, kept in the history")]


@app.callback()
def _prompts() -> None:
    """Versions of prompts, and the labels that stand for them."""


def _library(folder: str) -> PromptLibrary:
    from promptguard.sources.library import open_as_set

    return open_as_set(folder)


def _print_json(told: object) -> None:
    json.dump(told, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


@app.command("list")
def list_(folder: Folder = "prompts", as_json: AsJson = False) -> None:
    """List all prompts with their versions and where their labels stand; reads no prompt file.

    Exit codes: 0, 2 there is no such folder.
    """
    from promptguard.templates.told import told_list
    from promptguard.terminal.prompts import show_list

    library = _library(folder)
    rows = told_list(library)
    if as_json:
        _print_json({"directory": str(library.directory), "prompts": rows})
    else:
        show_list(rows, str(library.directory))


@app.command()
def show(reference: Reference, folder: Folder = "prompts", as_json: AsJson = False) -> None:
    """Show one version: its messages, variables, labels and digest.

    Exit codes: 0, 2 there is no such version, or its file is wrong.
    """
    from promptguard.templates.told import told_prompt
    from promptguard.terminal.prompts import show_prompt

    library = _library(folder)
    told = told_prompt(library, library.get(reference))
    if as_json:
        _print_json(told)
    else:
        show_prompt(told)


@app.command()
def diff(
    reference: Reference,
    other: Annotated[str | None, typer.Argument(help="another version; by default the one before")] = None,
    context: Annotated[int, typer.Option("-C", "--context", min=0, help="equal lines beside a change")] = 3,
    whole: Annotated[bool, typer.Option("--whole", help="all equal lines")] = False,
    folder: Folder = "prompts",
    as_json: AsJson = False,
) -> None:
    """Show the words that differ between two versions: [-those that went-] and {+those that came+}.

    With one version that was edited after its first use, against its text at that time. Exit codes: 0 whatever differs,
    2 there is no such version.
    """
    from promptguard.templates.told import compared
    from promptguard.terminal.prompts import show_difference

    first, second = compared(_library(folder), reference, other)
    if as_json:
        _print_json({
            "from": first.reference, "to": second.reference, "same": first.text == second.text,
            "changes": [list(run) for run in first.until(second)],
        })  # fmt: skip
    else:
        show_difference(
            first.reference, second.reference, first.until(second), around=None if whole else context
        )


@app.command()
def lint(
    folder: Folder = "prompts",
    on: Annotated[
        str | None, typer.Option(help="a model: also say what it would refuse, and what to write instead")
    ] = None,
    rules: Annotated[str | None, typer.Option(help="a TOML file with rules of your own, for --on")] = None,
    as_json: AsJson = False,
) -> None:
    """Check every version, label and file of the folder; renders nothing and records nothing.

    Exit codes: 0 no error, 2 an error, or no such folder.
    """
    from dataclasses import asdict
    from datetime import UTC, datetime

    from promptguard.templates.lint import lint as findings
    from promptguard.terminal.prompts import show_findings

    library = _library(folder)
    found = [asdict(each) for each in findings(library)]
    if on is not None:
        from promptguard.certifying.breaks import breaks
        from promptguard.compat.ruleset import rules_with

        today = datetime.now(UTC).date()
        found += [asdict(each) for each in breaks(library, on, rules_with(rules), today)]
    if as_json:
        _print_json({"directory": str(library.directory), "findings": found})
    else:
        show_findings(found, sum(len(versions) for versions in library.all_versions().values()))
    if any(each["level"] == "error" for each in found):
        raise typer.Exit(WRONG_USE)


@app.command()
def label(
    reference: Reference,
    name: Annotated[str, typer.Argument(metavar="LABEL", help='the label, such as "production"')],
    why: Why = "",
    folder: Folder = "prompts",
    as_json: AsJson = False,
) -> None:
    """Put a label on a version: processes that ask for NAME@LABEL have it at their next get().

    Exit codes: 0 it stands there, 2 no such version, or nothing can be written.
    """
    from promptguard.terminal.prompts import show_move

    move = _library(folder).label(reference, name, why=why, by=who())
    told = move.to_dict()
    _print_json(told) if as_json else show_move(told)


@app.command()
def rollback(
    prompt: Annotated[str, typer.Argument(metavar="NAME", help="the prompt")],
    name: Annotated[str, typer.Option("--label", help="which label")] = "production",
    to: Annotated[str | None, typer.Option(help="a version on which the label stood before")] = None,
    why: Why = "",
    folder: Folder = "prompts",
    as_json: AsJson = False,
) -> None:
    """Put a label back where it stood before its last move; twice goes two moves back.

    Exit codes: 0 done, 2 the label never stood elsewhere, or nothing can be written.
    """
    from promptguard.terminal.prompts import show_move

    move = _library(folder).rollback(prompt, name, to=to, why=why, by=who())
    told = move.to_dict()
    _print_json(told) if as_json else show_move(told)


@app.command()
def history(
    prompt: Annotated[str | None, typer.Argument(metavar="NAME", help="the prompt; by default all")] = None,
    folder: Folder = "prompts",
    as_json: AsJson = False,
) -> None:
    """Show every move of a label, newest first: when, who, from where, to where and why.

    Exit codes: 0, 2 there is no such prompt.
    """
    from promptguard.terminal.prompts import show_history

    moves = [move.to_dict() for move in _library(folder).history(prompt)]
    if as_json:
        _print_json(moves)
    else:
        show_history(moves)


@app.command("import")
def import_(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="files of other tools")],
    name: Annotated[str | None, typer.Option(help="the prompt's name; by default the file's own")] = None,
    of: Annotated[
        str | None, typer.Option("--format", help="the format, where it is not plain from the file")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be written, and write nothing")
    ] = False,
    folder: Folder = "prompts",
    as_json: AsJson = False,
) -> None:
    """Convert prompts of other tools into versions of this folder; an existing prompt gets its next version.

    Read are older Prompty files, promptflow (.jinja2 with role lines), dotprompt, promptfoo, Semantic Kernel, LangChain
    hub, LangSmith, Langfuse, MLflow and plain text. What has no counterpart is refused by name. Exit codes: 0 all are
    written, 2 one of them cannot be read (what came before it is written).
    """
    from promptguard.templates.importing import import_file
    from promptguard.terminal.prompts import show_imports

    made = [
        each
        for file in files
        for each in import_file(_library(folder), file, name=name, of=of, dry_run=dry_run)
    ]
    if as_json:
        _print_json(made)
    else:
        show_imports(made)


@app.command()
def export(
    reference: Reference,
    to: Annotated[str, typer.Option("--format", help="prompty or promptfoo")] = "prompty",
    folder: Folder = "prompts",
    as_json: AsJson = False,
) -> None:
    """Print one version in the form of another tool: `prompty` (the file as it is) or `promptfoo` (a configuration).

    Exit codes: 0, 2 no such version or format.
    """
    from promptguard.templates.importing import exported

    prompt = _library(folder).get(reference)
    text = exported(prompt, to)
    if as_json:
        _print_json({"reference": f"{prompt.name}@{prompt.version}", "format": to, "text": text})
    else:
        sys.stdout.write(text)


app.command("certify")(certify)
app.command("compare")(compare)
app.command("certificates")(certificates)
app.command("withdraw")(withdraw)


@app.command()
def push(
    names: Names = None,
    ledger: Annotated[str | None, OPTION] = None,
    folder: Folder = "prompts",
    as_json: AsJson = False,
) -> None:
    """Put prompts of the folder, with their labels, into a ledger: `promptguard.prompts("ledger:DIR")` reads them there.

    A version that the ledger has with another text, or a label that was moved there as well, is an error. Exit codes: 0, 2.
    """
    from promptguard.sources.in_ledger import push as carry

    _show_carried(carry(_library(folder), ledger_or_setting(ledger), names or [], by=who()), as_json=as_json)


@app.command()
def pull(
    names: Names = None,
    ledger: Annotated[str | None, OPTION] = None,
    folder: Folder = "prompts",
    as_json: AsJson = False,
) -> None:
    """Write the prompts of a ledger, with their labels, into the folder; what only the folder has stays.

    Exit codes: 0, 2 there is no such prompt, or the folder has a version with another text.
    """
    from pathlib import Path

    from promptguard.sources.in_ledger import pull as carry

    _show_carried(carry(ledger_or_setting(ledger), Path(folder), names or []), as_json=as_json)


def _show_carried(done: list[Carried], *, as_json: bool) -> None:
    from promptguard.terminal.prompts import show_carried

    told = [each.to_dict() for each in done]
    _print_json(told) if as_json else show_carried(told)
