"""What an examination is of: sides, questions and answers, as plain values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from promptguard.drift import Answer
from promptguard.templates.prompt import Prompt

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Side:
    """A version of a prompt on a model."""

    prompt: Prompt
    model: str

    @property
    def reference(self) -> str:
        """The version, such as `triage@3`."""
        return f"{self.prompt.name}@{self.prompt.version}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a case of a prompt's file expects of its answer, beside that there is one."""

    number: int
    """from 1"""
    right: str | None = None
    """the true answer"""
    label: str | None = None
    """the class that the answer must have"""
    matches: str | None = None
    """a regular expression that must be found in it"""


@dataclass(frozen=True, slots=True)
class Question:
    """One question, which each side is asked in its own words.

    Attributes:
        key: names it; equal in every run
        variables: what the prompt is rendered with, where that is known
        messages: as it was asked before, of the version `asked_as`, where variables are not known
        text: the last user message as it was asked, where only that is known
        reference: the true answer, where it is known
        case: what the prompt's file expects, for its own cases
    """

    key: str
    variables: Mapping[str, object] | None = None
    messages: Sequence[Message] | None = None
    asked_as: str = ""
    text: str | None = None
    reference: str | None = None
    case: Expected | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer of one side, or that it is missing (`answer.error`)."""

    answer: Answer
    served: str = ""
    """the model that the provider says has answered"""
    input_tokens: int | None = None
    usd: float = 0.0
    """what it cost now; 0 for what was recorded"""
    was_asked: bool = False
    """whether a call was made for it"""


class Source(Protocol):
    """Where answers come from."""

    def answer(self, side: Side, question: Question) -> Answered | None:
        """Return a side's answer, or None where this source has none and can have none.

        Raises Stopped where going on is of no use.
        """


class Stopped(Exception):  # noqa: N818 - a way to end, not a fault
    """An examination ends here, and says why; what is known so far stays known."""

    def __init__(self, why: str, *, resumable: bool = True) -> None:
        super().__init__(why)
        self.resumable = resumable


@dataclass(frozen=True, slots=True)
class Wish:
    """How sure an examination has to be.

    Attributes:
        tolerance: the shift that is to be excluded, 0 to 1
        alpha: chance of a wrong status, at most
        seed: names the order of the questions
    """

    tolerance: float = 0.1
    alpha: float = 0.05
    seed: str = "0"


@dataclass(slots=True)
class Used:
    """What was asked and what it cost."""

    calls: int = 0
    usd: float = 0.0
    served: dict[str, list[str]] = field(default_factory=dict)
    """side -> models that answered"""


def in_order(questions: Iterable[Question], seed: str) -> list[Question]:
    """Return each question once, in an order that says nothing of them.

    Files are often sorted, and who stops early must not have seen one kind of question only: by digest.
    """
    once: dict[str, Question] = {}
    for question in questions:
        once.setdefault(question.key, question)
    return sorted(once.values(), key=lambda each: hashlib.sha256(f"{seed}:{each.key}".encode()).digest())
