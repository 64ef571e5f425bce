"""A provider that refuses as the real ones do: what each model refuses is the golden matrix, which no rule was read for.

Each model is asked in the background, under its own name and under one that no rule knows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.compat.test_matrix import CELLS, body_of
from tests.marks import spread

import promptguard
from promptguard.ledger.store import Ledger
from promptguard.testing import FakeProvider, Fault, Question

SECTIONS = {"chat": "gpt-4o", "messages 2023-06-01": "house-claude"}
"""The application's own model of each section of the matrix; it takes all that is asked here."""
LOSSLESS = frozenset("rDC")


def refused(section: str, model: str) -> list[dict[str, Any]]:
    """Return the parameters that a model refuses, each as the part of a body that says it."""
    endpoint = section.partition(" ")[0]
    return [
        {
            name: value
            for name, value in body_of(endpoint, row).items()
            if row in _IN_MESSAGES or name != "messages"
        }
        for of, row, named, code in CELLS
        if (of, named) == (section, model) and code != "."
    ]


_IN_MESSAGES = frozenset(("prefill", "thinking_in_history", "assistant_documents", "system"))


def refusing(parts: list[dict[str, Any]]) -> Callable[[Question], str | Fault]:
    def answer(question: Question) -> str | Fault:
        for part in parts:
            if all(question.body.get(name) == value for name, value in part.items()):
                error = {
                    "type": "invalid_request_error",
                    "message": "no",
                    "param": next(iter(part)),
                    "code": "unsupported",
                }
                return Fault("status", status=400, body=json.dumps({"error": error}).encode())
        return "fine"

    return answer


def asked(
    section: str, provider: FakeProvider, ledger: Path, candidate: str, rows: list[str]
) -> Counter[str]:
    """Ask the application's model with each row's parameters; return how many pairs ended how."""
    shadow = promptguard.Shadow(
        candidate, sample=1.0, repeat=0.0, budget=promptguard.Budget(calls_per_minute=None)
    )
    if section == "chat":
        client: Any = import_module("openai").OpenAI(base_url=provider.url, api_key="k", max_retries=0)
    else:
        sdk = import_module("anthropic")
        client = sdk.Anthropic(base_url=provider.origin, api_key="k", max_retries=0)
    with client:
        promptguard.wrap(client, ledger=ledger, shadow=shadow)
        for row in rows:
            body = body_of(section.partition(" ")[0], row)
            messages = body.pop("messages")
            if section == "chat":
                client.chat.completions.create(model=SECTIONS[section], messages=messages, extra_body=body)
            else:
                # the version of the API that the section of the matrix is about
                version = {"anthropic-version": section.partition(" ")[2]}
                client.messages.create(
                    model=SECTIONS[section],
                    messages=messages,
                    max_tokens=100,
                    extra_body=body,
                    extra_headers=version,
                )
        assert promptguard.flush(60.0)
    kept = Ledger(ledger)
    try:
        return Counter(row.outcome for row in kept.pairs_after(0) if row.stream == "candidate")
    finally:
        kept.close()


def models(section: str) -> list[tuple[str, list[str], list[str]]]:
    """Return the models with what each refuses and can be asked otherwise, and what it refuses and cannot."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for of, row, model, code in CELLS:
        if of == section and code != "." and model != SECTIONS[section]:
            found.setdefault(model, ([], []))[not LOSSLESS.issuperset(code)].append(row)
    return [(model, *rows) for model, rows in found.items()]


CASES = [(section, *case) for section in SECTIONS for case in models(section) if case[1]]


@pytest.mark.parametrize("case", spread(CASES, 6), ids=lambda case: f"{case[0][:4]}-{case[1]}")
def test_with_rules_every_lossless_question_is_compared_and_without_them_none(
    case: tuple[str, str, list[str], list[str]], tmp_path: Path, guarded: Path
) -> None:
    section, model, mended, others = case
    refuses = refusing(refused(section, model))
    with FakeProvider({SECTIONS[section]: lambda _: "fine", model: refuses, "unknown": refuses}) as provider:
        assert asked(section, provider, guarded, model, mended) == {"compared": len(mended)}
        assert asked(section, provider, tmp_path / "others", model, others).keys() <= {"not_comparable"}
        assert asked(section, provider, tmp_path / "unknown", "unknown", mended) == {
            "candidate_error": len(mended)
        }


def test_there_is_something_to_show() -> None:
    assert sum(len(mended) for _, _, mended, _ in CASES) >= 30
