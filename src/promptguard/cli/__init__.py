"""The `promptguard` command: one file a command, nothing heavy imported before a command runs.

To add a command: write `cli/<name>.py` with a function `run` whose parameters are its options (or, for a command that
has commands of its own, with a typer application `app`), and add the name to `COMMANDS`. Commands are only imported when
they are called or listed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from promptguard.cli.exits import INTERRUPTED, WRONG_USE
from promptguard.errors import PromptGuardError

if TYPE_CHECKING:
    import typer

COMMANDS = ("demo", "analyze", "status", "report", "plan", "cache", "acknowledge", "config", "doctor")
DEBUG = "PROMPTGUARD_DEBUG"


def build(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """Return the typer application with the commands of these names."""
    import typer

    app = typer.Typer(
        name="promptguard",
        help="Notice when the model behind a prompt changes.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for name in names:
        module = import_module(f"promptguard.cli.{name.replace('-', '_')}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(module.run)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. Exit 1 means drift, so no fault of ours may ever end with it."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_run(given))


def _run(given: list[str]) -> int:
    try:
        return _called(given)
    except PromptGuardError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of our output went away (`| head`); give the interpreter nothing left to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WRONG_USE
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        return _fail(f"internal error: {type(error).__name__}: {error} (set {DEBUG}=1 for the traceback)")


def _called(given: list[str]) -> int:
    if given in (["--version"], ["-V"]):
        from promptguard._version import __version__

        print(f"promptguard {__version__}")  # noqa: T201 - what was asked for
        return 0
    called = [name for name in COMMANDS if name in given[:1]]
    try:
        build(called or COMMANDS)(args=given, prog_name="promptguard")
    except SystemExit as done:
        code = 0 if done.code is None else done.code
        return code if isinstance(code, int) else WRONG_USE
    return 0


def _fail(message: str) -> int:
    print(f"promptguard: {message}", file=sys.stderr)  # noqa: T201
    return WRONG_USE


def _root() -> None:
    """Notice when the model behind a prompt changes, before the product breaks."""
