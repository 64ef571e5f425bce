"""Answers that were recorded: pairs.jsonl as `analyze` reads it, or one answer a line.

A line of recorded answers is an object with `model`, `prompt` (or `query`: what was asked, the last user message) and
`text` (or `answer`). More keys are read where they are there: `id` joins the answers to one question, in whatever words
versions put it; `version` such as "triage@3" says which version asked; `inputs` are the variables; `reference` is the true
answer; `finish_reason`, `tool_calls`, `refusal`, `output_tokens` (or `answer_tokens`), `input_tokens`, `error`, `label`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from promptguard.certifying.recovering import asks, last_user_text
from promptguard.certifying.values import Answered, Question, Side
from promptguard.drift import Answer
from promptguard.errors import PromptError
from promptguard.report.lines_file import BadLine, LinesFile, json_object, text_of
from promptguard.report.pairs_file import PairsFile

_SHAPE = '{"model": "...", "prompt": "...", "text": "..."}'
_ANSWER = ("finish_reason", "tool_calls", "refusal", "label", "error", "logprobs")
Place = tuple[str, str, str]
"""version ("" for the reference's), model, question"""


@dataclass(frozen=True, slots=True)
class RecordedLine:
    """One recorded answer."""

    key: str
    text: str
    """what was asked"""
    model: str
    version: str
    answered: Answered
    variables: Mapping[str, object] | None
    reference: str | None


class AnswersFile(LinesFile[RecordedLine]):
    """An open file of recorded answers: iterate for them; `bad` is called for each line skipped."""

    KIND, NEEDS, THING = "answers.jsonl", "each needs model, prompt and text", "answer"

    def _parse(self, line: bytes, number: int) -> RecordedLine:  # noqa: ARG002 - who calls knows the number
        return _line(line)


def _line(line: bytes) -> RecordedLine:
    value = json_object(line, _SHAPE)
    model, version = text_of(value, "model"), text_of(value, "version") or ""
    asked = text_of(value, "prompt") or text_of(value, "query")
    said = value.get("text", value.get("answer"))
    if said is None and (value.get("error") or value.get("tool_calls")):
        said = ""
    if not model or not asked or not isinstance(said, str):
        raise ValueError(f"model, prompt (or query) and text (or answer) must be strings: {_SHAPE}")
    if version and "@" not in version:
        raise ValueError(f'version is {version!r}; write name and version, such as "triage@3"')
    inputs = value.get("inputs")
    key = value.get("id")
    return RecordedLine(
        key=str(key) if isinstance(key, str | int) else asked,
        text=asked,
        model=model,
        version=version,
        answered=_answered(value, said, model),
        variables=inputs if isinstance(inputs, dict) else None,
        reference=text_of(value, "reference"),
    )


def _answered(value: Mapping[str, Any], text: str, served: str) -> Answered:
    given = {name: value[name] for name in _ANSWER if value.get(name) is not None}
    tokens = value.get("output_tokens", value.get("answer_tokens"))
    answer = Answer(text, output_tokens=tokens if isinstance(tokens, int) else None, **given)
    asked = value.get("input_tokens")
    named = value.get("served")
    return Answered(
        answer, named if isinstance(named, str) else served, asked if isinstance(asked, int) else None
    )


class Recorded:
    """All recorded answers of some files, and the questions in them.

    `reference` is the side that lines without a `version` are of. Of several answers of one version and model to a
    question the first counts: a pair needs answers of its own.
    """

    def __init__(self, reference: Side) -> None:
        self._reference = reference
        self._answers: dict[Place, Answered] = {}
        self._keys: dict[str, str] = {}
        """what was asked -> question"""
        self._known: set[str] = set()
        self.questions: list[Question] = []
        self.names: list[str] = []
        """of the files"""
        self.repeated = 0
        """answers that were left out"""
        self.foreign: dict[str, None] = {}
        """what was asked in lines that name no version and that the reference does not ask; they are left out"""

    def read_answers(self, file: str, bad: Callable[[BadLine], None]) -> None:
        """Read a file of answers. Raises InputFileError for one that cannot be read, or has none."""
        found = AnswersFile(file, bad)
        self.names.append(found.name)
        self._add(found)

    def read_pairs(self, file: str, bad: Callable[[BadLine], None], subject: Side) -> None:
        """Read pairs.jsonl: the control is the reference's answer, the candidate the answer of `subject`."""
        found = PairsFile(file, bad)
        self.names.append(found.name)
        for pair in found:
            if pair.stream != "candidate":
                continue
            text = pair.prompt or f"pair {pair.line}"
            for side, told in ((self._reference, pair.control), (subject, pair.candidate)):
                try:
                    answered = _answered(told, told["text"], side.model)
                except ValueError as error:
                    bad(BadLine(pair.source, pair.line, f"{error}; mend or leave out that value"))
                    break
                version = side.reference
                self._put(RecordedLine(text, text, side.model, version, answered, None, pair.reference))

    def _add(self, lines: Iterable[RecordedLine]) -> None:
        for line in lines:
            if line.version or line.variables is not None or asks(self._reference.prompt, line.text):
                self._put(line)
            else:
                self.foreign[line.text] = None

    def _put(self, line: RecordedLine) -> None:
        version = line.version or self._reference.reference
        place = (version, line.model, line.key)
        if place in self._answers:
            self.repeated += 1
            return
        self._answers[place] = line.answered
        if line.key not in self._known:
            self._known.add(line.key)
            self._keys[line.text] = line.key
            self.questions.append(
                Question(line.key, line.variables, asked_as=version, text=line.text, reference=line.reference)
            )
        self._keys.setdefault(line.text, line.key)

    @property
    def sides(self) -> set[tuple[str, str]]:
        """The (version, model) that there are answers of."""
        return {(version, model) for version, model, _ in self._answers}

    def answer(self, side: Side, question: Question) -> Answered | None:
        """Return the recorded answer of a side, or None."""
        found = self._answers.get((side.reference, side.model, question.key))
        if found is None and question.variables is not None:
            key = self._keys.get(_asked(side, question))
            found = None if key is None else self._answers.get((side.reference, side.model, key))
        return found


def _asked(side: Side, question: Question) -> str:
    try:
        return last_user_text(side.prompt.render(None, **dict(question.variables or {})).messages)
    except PromptError:
        return ""
