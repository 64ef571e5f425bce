"""The recorded answers (data/NOTICE says whose), and what makes one usable to the demo's application."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from promptguard.errors import ConfigurationError

FAMILIES: Mapping[str, tuple[str, str, str]] = {
    "gpt-4": ("gpt-4", "gpt-4-0314", "gpt-4-0613"),
    "gpt-3.5": ("gpt-3.5-turbo", "gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613"),
}
"""family → (alias that the application asks, snapshot before, snapshot after)"""

TASKS: Mapping[str, str] = {
    "prime": "[Yes] or [No] is there and is right",
    "sensitive": "the question was answered (the authors' own label)",
    "leetcode": "the code was accepted as submitted (the authors' own judge)",
}
"""task → when an answer is usable"""

_VERDICT = re.compile(r"\[(yes|no)\]", re.IGNORECASE)
_JUDGED = {"sensitive": "response_rate", "leetcode": "directly_usable"}


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded answer."""

    text: str
    tokens: int
    judged: bool | None
    """the authors' label, where the task has one"""


class Recordings:
    """Every answer of one task by question and model.

    Raises ConfigurationError for a task that is not recorded.
    """

    def __init__(self, task: str) -> None:
        if task not in TASKS:
            raise ConfigurationError(f"--task {task}: give one of {', '.join(TASKS)}")
        self.task = task
        self.references: dict[str, str] = {}
        self._answers: dict[tuple[str, str], Recording] = {}
        for row in _rows(task):
            self.references.setdefault(row["query"], row["reference"])
            self._answers[row["query"], row["model"]] = _recording(row, task)

    @property
    def questions(self) -> list[str]:
        """Every question, in the order of the recordings."""
        return list(self.references)

    def answer(self, question: str, model: str) -> Recording:
        """Return what `model` was recorded to answer."""
        return self._answers[question, model]

    def variables(self, question: str) -> dict[str, Any]:
        """Return the prompt variables that render to `question`."""
        if self.task == "prime":
            return {"number": int(re.findall(r"\d+", question)[0])}
        return {"question" if self.task == "sensitive" else "task": question}

    def usable(self, question: str, answer: str) -> bool:
        """Whether the application can use `answer`."""
        if self.task == "prime":
            found = _VERDICT.findall(answer)
            return bool(found) and found[-1].casefold() == self.references[question].casefold()
        known = (
            self._answers.get((question, model))
            for _, before, after in FAMILIES.values()
            for model in (before, after)
        )
        return any(
            recording is not None and recording.text == answer and recording.judged for recording in known
        )


def _rows(task: str) -> list[dict[str, Any]]:
    packed = resources.files("promptguard.demo").joinpath("data", f"{task}.jsonl.gz").read_bytes()
    return [json.loads(line) for line in gzip.decompress(packed).splitlines()]


def _recording(row: Mapping[str, Any], task: str) -> Recording:
    label = row.get(_JUDGED.get(task, ""))
    return Recording(row["answer"], int(row["answer_tokens"]), None if label is None else _judged(str(label)))


def _judged(label: str) -> bool:
    return label == "1" or "Accepted" in label
