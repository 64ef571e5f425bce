"""The `promptguard` command: one file a command, nothing heavy imported before a command runs.

To add a command: write `cli/<name>.py` with a function `run` whose parameters are its options (or, for a command that
has commands of its own, with a typer application `app`), and add the name to `COMMANDS`. `SHORT` is its line in the list of
commands; `EXAMPLES`, lines of a shell, stand at the end of its help. Commands are only imported when they are called or
listed.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING

from promptguard.cli.exits import INTERRUPTED, WRONG_USE
from promptguard.errors import PromptGuardError

if TYPE_CHECKING:
    import typer

COMMANDS = (
    "demo",
    "analyze",
    "status",
    "explain",
    "report",
    "dashboard",
    "watch",
    "canary",
    "drain",
    "plan",
    "prompts",
    "rollout",
    "compat",
    "cache",
    "acknowledge",
    "undo",
    "purge",
    "ledger",
    "export",
    "import",
    "alerts",
    "dashboards",
    "config",
    "doctor",
)
MODULES = {"import": "importing", "export": "exporting"}
"""Commands whose names are words of Python, or too near to one."""
DEBUG = "PROMPTGUARD_DEBUG"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of errors of who writes: the disk, the user's share of it, or the file is full."""
_SELDOM = (250_000, 20, 20)
"""objects after which garbage is looked for, and how much more seldom among those that have stayed"""
EXAMPLES = (
    "promptguard demo                     see a change found, on real recorded answers",
    "promptguard status                   where every prompt stands now",
    "promptguard explain                  the newest alarm in full, and what to do",
    "promptguard dashboard --open         the same as a local page",
    "promptguard status --json            the same for programs",
    "promptguard --install-completion     names of commands and prompts by the tab key",
)


def build(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """Return the typer application with the commands of these names."""
    import typer

    app = typer.Typer(
        name="promptguard",
        help="Notice when the model behind a prompt changes.",
        epilog=examples(EXAMPLES),
        no_args_is_help=True,
        # only where it is asked for: completion looks for the shell it runs in
        add_completion=list(names) == list(COMMANDS),
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(import_module("promptguard.cli.root").run)
    for name in names:
        module = import_module(f"promptguard.cli.{MODULES.get(name, name.replace('-', '_'))}")
        if hasattr(module, "app"):
            for command in module.app.registered_commands:
                command.short_help = command.short_help or first_sentence(command.callback)
            app.add_typer(module.app, name=name, short_help=getattr(module, "SHORT", None))
        else:
            short, lines = getattr(module, "SHORT", None), getattr(module, "EXAMPLES", ())
            app.command(name, short_help=short, epilog=examples(lines))(module.run)
    return app


def first_sentence(function: Callable[..., object] | None) -> str | None:
    """Return the first sentence of a docstring: what is not given as short is cut amid a word where it is listed."""
    said = " ".join(((function and function.__doc__) or "").split("\n\n")[0].split())
    return said.partition(". ")[0].removesuffix(".") or None


def examples(lines: Sequence[str]) -> str | None:
    """Return the end of a help text: lines of a shell, one below the other; None where there are none."""
    # \b keeps click from joining the lines
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines) if lines else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. Exit 1 means drift, so no fault of ours may ever end with it."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Most of a short command is imports, whose objects stay: looking for garbage among them takes a tenth of its time.
    gc.set_threshold(*_SELDOM)
    _write_any_character()
    code = _run(given)
    # On its way out the interpreter looks for garbage three times more; what stays until then need not be looked at.
    gc.freeze()
    sys.exit(code)


def _write_any_character() -> None:
    """Let what the terminal's encoding has no sign for be written as an escape: a command must not fail for a name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="backslashreplace")


def _run(given: list[str]) -> int:
    try:
        code = _called(given)
        sys.stdout.flush()
        return code
    except PromptGuardError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of our output went away (`| head`)
        _leave_nothing_to_flush()
        return WRONG_USE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            _leave_nothing_to_flush()
            return _fail(f"the output cannot be written ({error.strerror})")
        if os.environ.get(DEBUG):
            raise
        return _fail(f"internal error: {type(error).__name__}: {error} (set {DEBUG}=1 for the traceback)")


def _leave_nothing_to_flush() -> None:
    """Let the interpreter, which writes what is left when it ends, write it to nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _called(given: list[str]) -> int:
    if given[:1] in (["--version"], ["-V"]):
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
