"""Which questions there are: the file's cases, those that were recorded, and those that a ledger has stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from promptguard.certifying.expectations import cases_of
from promptguard.certifying.recorded import Recorded
from promptguard.certifying.recovering import last_user_text, recovered, recovered_from_text
from promptguard.certifying.values import Question, Side
from promptguard.core.canonical import digest
from promptguard.errors import PromptError
from promptguard.report.stored_questions import stored_questions
from promptguard.templates.prompt import Prompt


def gathered(
    subject: Prompt, reference: Side, recorded: Recorded | None, ledger: str | Path | None
) -> list[Question]:
    """Return every question once: the cases of `subject`'s file, then recorded and stored ones.

    Raises PromptSyntaxError for a case that cannot be asked, InputFileError for a ledger that cannot be read.
    """
    texts = {} if recorded is None else {each.text: each.key for each in recorded.questions if each.text}

    def key_of(variables: Mapping[str, object]) -> str | None:
        try:
            return texts.get(last_user_text(reference.prompt.render(None, **dict(variables)).messages))
        except PromptError:
            return None

    found = list(cases_of(subject, key_of))
    known = {each.key: each for each in found}
    if recorded is not None:
        for each in recorded.questions:
            if each.key not in known:
                found.append(_with_variables(each, reference))
            elif known[each.key].reference is None:
                place = found.index(known[each.key])
                found[place] = replace(known[each.key], reference=each.reference)
    if ledger is not None:
        found += _stored(ledger, reference)
    return found


def _with_variables(question: Question, reference: Side) -> Question:
    if question.variables is not None or question.text is None or question.asked_as != reference.reference:
        return question
    return replace(question, variables=recovered_from_text(reference.prompt, question.text))


def _stored(ledger: str | Path, reference: Side) -> Iterable[Question]:
    for messages in stored_questions(ledger, reference.reference):
        variables = recovered(reference.prompt, messages)
        told: Sequence[object] = list(messages)
        yield Question(
            digest("question", {"messages": told}), variables, messages=messages, asked_as=reference.reference,
            text=last_user_text(messages) or None,
        )  # fmt: skip
