"""What `prompts certify` and `prompts compare` share: from options to a run, and a bar for who waits."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptguard.cli.analyze import BadLines
from promptguard.core.mistakes import shown
from promptguard.errors import ConfigurationError, InputFileError, MissingExtra

if TYPE_CHECKING:
    from promptguard.certifying.asking import Asking
    from promptguard.certifying.recorded import Recorded
    from promptguard.certifying.run import Course, Subject
    from promptguard.certifying.run import Progress as Far
    from promptguard.certifying.spending import Purse
    from promptguard.certifying.values import Answered, Question, Side, Wish
    from promptguard.templates.library import PromptLibrary

_AGAINST = "--against triage@3/gpt-5.1"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options say, beside prompts and models."""

    budget: str | None
    price: str | None
    client: str | None
    recorded: Sequence[str]
    pairs: str | None
    ledger: str | None
    rules: str | None
    fresh: bool
    at_once: int

    @property
    def files(self) -> list[str]:
        """The files of recorded answers, all of them."""
        return [*self.recorded, *([self.pairs] if self.pairs else [])]

    @property
    def source(self) -> str:
        """Where answers come from, as a certificate has it."""
        names = [os.path.basename(file) for file in self.files]  # noqa: PTH119
        return ", ".join([*names, *(["asked"] if self.budget else [])])


def reference_side(library: PromptLibrary, against: str | None, name: str) -> Side:
    """Return the side that `--against` names. Raises ConfigurationError where it names none."""
    from promptguard.certifying.values import Side

    if not against:
        raise ConfigurationError(
            f"there is no reference: write {_AGAINST.replace('triage', name)}, a version and the model on which it is known"
            " to work"
        )
    reference, slash, model = against.partition("/")
    while slash and "@" not in reference and "/" in model:  # a name may have parts
        more, slash, model = model.partition("/")
        reference = f"{reference}/{more}"
    if not slash or not model or "@" not in reference:
        raise ConfigurationError(
            f"--against {against!r} does not say a version and a model: write {_AGAINST.replace('triage', name)}"
        )
    return Side(library.get(reference), model)


def wish_of(reference: Side, subject: Side, epsilon: float | None, alpha: float) -> Wish:
    """Return how sure it has to be: `--epsilon`, else the `tolerance:` of the file, else the default."""
    from promptguard.certifying.values import Wish

    stated = subject.prompt.tolerance or reference.prompt.tolerance
    tolerance = epsilon if epsilon is not None else stated if stated is not None else Wish().tolerance
    for name, value in (("--epsilon", tolerance), ("--alpha", alpha)):
        if not 0.0 < value < 1.0:
            raise ConfigurationError(f"{name} {value:g}: give a share between 0 and 1, such as 0.1")
    return Wish(tolerance, alpha)


def read_recorded(asked: Asked, reference: Side, subject: Side) -> Recorded | None:
    """Return the recorded answers; None where there are none. Raises InputFileError."""
    from promptguard.certifying.recorded import Recorded

    if not asked.files:
        return None
    found = Recorded(reference)
    for file in asked.recorded:
        bad = BadLines(file)
        found.read_answers(file, bad.add)
        bad.close(strict=False)
    if asked.pairs:
        bad = BadLines(asked.pairs)
        found.read_pairs(asked.pairs, bad.add, subject)
        bad.close(strict=False)
    if found.foreign:
        _say_foreign(found, reference)
    return found


def _say_foreign(found: Recorded, reference: Side) -> None:
    """Tell which questions were left out, since the reference does not ask them. Raises InputFileError for all of them."""
    first = shown(next(iter(found.foreign)))
    if not found.questions:
        raise InputFileError(
            f"{', '.join(found.names)}: {reference.reference} asks none of these questions, such as {first}; give answers"
            ' to its questions, or say on each line whose they are: "version": "name@1"'
        )
    sys.stderr.write(
        f"{len(found.foreign)} questions that {reference.reference} does not ask are left out: {first}\n"
    )


def carry_out(
    library: PromptLibrary,
    reference: Side,
    subjects: Sequence[Subject],
    wish: Wish,
    asked: Asked,
    recorded: Recorded | None,
) -> Course:
    """Run an examination to its end, kept for later where it is interrupted."""
    from promptguard.certifying.kept import KeptStep, kept_in, name_of
    from promptguard.certifying.questions import gathered
    from promptguard.certifying.run import Run

    questions = gathered(subjects[0].side.prompt, reference, recorded, asked.ledger)
    _check_questions(questions, asked, reference)
    if asked.budget is None:
        return Run(reference, subjects, questions, wish, _Chain(recorded, None)).go()
    facts = [(each.name, each.side.model, each.side.prompt.digest) for each in subjects]
    name = name_of(
        facts, reference.reference, reference.model, reference.prompt.digest, wish.tolerance, wish.alpha
    )
    with kept_in(library.directory, name, fresh=asked.fresh) as kept:
        before = kept.steps()
        spent = (sum(step.calls for step in before), sum(step.usd for step in before))
        purse = _purse(asked, spent, {reference.model, *(each.side.model for each in subjects)})
        with _bar() as told, ExitStack() as clients:
            source = _Chain(recorded, _asking(asked, purse, clients))
            run = Run(
                reference, subjects, questions, wish, source, kept=kept, told=told, at_once=asked.at_once,
            )  # fmt: skip
            try:
                course = run.go()
            except KeyboardInterrupt:
                sys.stderr.write("interrupted; the same command goes on from here\n")
                raise
            finally:  # what was asked ahead is paid for, and counts when the run goes on
                now = kept.steps()
                calls, usd = sum(step.calls for step in now), sum(step.usd for step in now)
                kept.add(KeptStep("", calls=purse.store.calls - calls, usd=purse.store.usd - usd))
        course.used.calls, course.used.usd = purse.store.calls, max(0.0, purse.store.usd)
        if course.ended is None:
            kept.forget()
    return course


def _check_questions(questions: Sequence[Question], asked: Asked, reference: Side) -> None:
    if questions:
        return
    prompt = reference.prompt
    raise InputFileError(
        f"there is nothing to ask: {prompt.filename} has no `cases:`; write some, or give --recorded FILE, --pairs FILE or"
        f" --ledger DIR with questions of {prompt.name}@{prompt.version}"
        if not asked.ledger
        else f"there is nothing to ask: {asked.ledger} has no stored question of {prompt.name}@{prompt.version}, and"
        f" {prompt.filename} has no `cases:`"
    )


class _Chain:
    """Recorded answers first; what was not recorded is asked, where there is who may."""

    def __init__(self, recorded: Recorded | None, asking: Asking | None) -> None:
        self._sources = [each for each in (recorded, asking) if each is not None]

    def answer(self, side: Side, question: Question) -> Answered | None:
        """Return the first answer there is."""
        for source in self._sources:
            found = source.answer(side, question)
            if found is not None:
                return found
        return None


def _purse(asked: Asked, spent: tuple[int, float], models: set[str]) -> Purse:
    from promptguard.certifying.spending import Purse, parsed_budget, parsed_price

    usd, calls = parsed_budget(asked.budget or "")
    purse = Purse(usd, calls, parsed_price(asked.price) if asked.price else None, spent)
    purse.check(*sorted(models))
    return purse


def _asking(asked: Asked, purse: Purse, clients: ExitStack) -> Asking:
    """Return what asks; the clients that are made for it are closed with `clients`."""
    from promptguard.certifying.asking import Asking, Door, door_of
    from promptguard.compat.ruleset import rules_with

    made = _factory(asked.client) if asked.client else None

    def door(model: str) -> Door:
        from promptguard.wrapping import is_wrapped, unwrap

        client = _default_client(model) if made is None else made()
        close = getattr(client, "close", None)
        if made is None and callable(close):  # a client of the user's function is the user's
            clients.callback(close)
        return door_of(unwrap(client) if is_wrapped(client) else client)

    return Asking(door, rules_with(asked.rules), purse)


def _factory(spec: str) -> Callable[[], object]:
    module, colon, name = spec.partition(":")
    if not colon or not module or not name:
        raise ConfigurationError(
            f"--client {spec!r} is not known: write module:function, a function that returns a client"
        )
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as `python -m` has it
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise ConfigurationError(f"--client {spec}: {error}") from None
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise ConfigurationError(f"--client {spec}: {module} has no function {name}")
    made: Callable[[], object] = found
    return made


_SDKS = (("claude", "anthropic", "Anthropic"), ("gemini", "google.genai", "Client"), ("", "openai", "OpenAI"))


def _default_client(model: str) -> object:
    """Return a client of the SDK that the model's name points to; it reads key and address from the environment itself."""
    plain = model.rpartition("/")[2]
    module, kind = next((module, kind) for start, module, kind in _SDKS if plain.startswith(start))
    try:
        return getattr(importlib.import_module(module), kind)()
    except ImportError:
        raise MissingExtra(
            f"{model} is asked through {module}, which is not installed: pip install"
            f" {'google-genai' if module.startswith('google') else module}, or give --client module:function"
        ) from None
    except Exception as error:  # noqa: BLE001 - an SDK may raise anything
        raise ConfigurationError(
            f"no client for {model}: {type(error).__name__}: {error}; set the variables that {module} reads, or give"
            " --client module:function"
        ) from None


@contextmanager
def _bar() -> Iterator[Callable[[Far], None]]:
    """Yield what shows how far a run is: a bar on standard error where a person is there, else nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[far]}"), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("asking", total=None, far="")

        def told(now: Far) -> None:
            if now.cases is not None:
                (done, total), what = now.cases, f"{now.cases[0]} of {now.cases[1]} cases"
            else:
                left = now.questions - now.pairs
                done, total = now.pairs, now.pairs + (left if now.left is None else min(now.left, left))
                what = f"{done} of about {total} pairs"
            shown.update(task, completed=done, total=total, far=f"{what}, {now.usd:.3f} USD")

        yield told
