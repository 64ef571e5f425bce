"""A drift verdict withdraws certificates: which, where, with what reason, and what it leaves alone."""

from __future__ import annotations

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.withdrawing import models_of
from promptguard.report.actions import event_words, read_actions
from promptguard.templates.certificates import Certificate
from promptguard.templates.library import open_library
from promptguard.testing import FakeProvider
from promptguard.verdict import Verdict
from tests.certifying.conftest import SORT, write

MODELS = {
    "gpt-4": lambda question: "```\nbug\n```",
    "gpt-4-0613": lambda question: "It is a bug.",
    "other": lambda question: "It is a bug.",
}


@pytest.fixture
def library(folder):
    write(folder, "sort@2", SORT % "models: ['x']\n")
    return open_library(folder)


def drift(library, ledger, second, tolerance=None):
    with FakeProvider(MODELS) as provider:
        client = promptguard.wrap(
            OpenAI(base_url=provider.url, api_key="k", max_retries=0),
            ledger=ledger,
            shadow=promptguard.Shadow(
                second, sample=1.0, repeat=0.0, budget=promptguard.Budget(calls_per_minute=None)
            ),
            drift=promptguard.Drift(mode="gate", tolerance=tolerance),
        )
        prompt = library.get("sort@1")
        for number in range(60 if tolerance else 25):
            call = prompt.render(ticket=f"It burns {number} times")
            client.chat.completions.create(model="gpt-4", messages=call.messages)
        assert promptguard.flush(100.0)
        assert [each.status for each in promptguard.verdicts(ledger) if each.stream == "candidate"] == [
            "drift"
        ]


def statuses(library):
    return {
        (version, model): line.status
        for version, row in library.matrix("sort").items()
        for model, line in row.items()
        if line.at
    }


def test_an_alarm_withdraws_the_certificate_of_its_version_and_model(library, guarded, capsys):
    for version, model in (("1", "gpt-4"), ("2", "gpt-4"), ("1", "gpt-4-0613")):
        library.certify(Certificate("sort", version, model, "certified"))
    drift(library, guarded, "gpt-4-0613")
    assert statuses(library) == {
        ("1", "gpt-4"): "withdrawn", ("2", "gpt-4"): "certified", ("1", "gpt-4-0613"): "certified",
    }  # fmt: skip
    line = library.certificates("sort")[-1]
    assert line.by == "promptguard"
    assert line.why.startswith("drift in the candidate stream after ")
    assert "code fence" in line.why or "shrank" in line.why or "length" in line.why or "cause" in line.why
    [event] = [each for each in read_actions(guarded).events if each.kind == "withdrawn"]
    assert event_words(event) == "The certificate of sort@1 on gpt-4 was withdrawn."


def test_that_two_models_differ_withdraws_nothing(library, guarded):
    for model in ("gpt-4", "other"):
        library.certify(Certificate("sort", "1", model, "certified"))
    drift(library, guarded, "other")
    assert set(statuses(library).values()) == {"certified"}


def test_beyond_a_tolerance_it_is_the_second_models_certificate(library, guarded):
    for model in ("gpt-4", "other"):
        library.certify(Certificate("sort", "1", model, "certified"))
    drift(library, guarded, "other", tolerance=0.2)
    assert statuses(library) == {("1", "gpt-4"): "certified", ("1", "other"): "withdrawn"}


def test_a_folder_that_cannot_be_written_costs_no_alarm(library, guarded, caplog):
    library.certify(Certificate("sort", "1", "gpt-4", "certified"))
    path = library.directory / "certificates.jsonl"
    text = path.read_text()
    path.write_text(text + "{}\n")
    drift(library, guarded, "gpt-4-0613")
    assert "the certificates of sort@1" in caplog.text
    assert "cannot be withdrawn" in caplog.text


def verdict(stream, tolerance=None):
    return Verdict("drift", None, stream, "gate", 0.01, 20, {}, 20, 3.0, 2.0, tolerance=tolerance)


@pytest.mark.parametrize(
    ("stream", "asked", "second", "tolerance", "models"),
    [
        ("replay", "gpt-4", "gpt-4", None, ("gpt-4",)),
        ("canary", "gpt-4", "gpt-4", None, ("gpt-4",)),
        ("candidate", "gpt-4", "gpt-4-0613", None, ("gpt-4",)),
        ("candidate", "gpt-5.1", "gpt-5.6", None, ()),
        ("candidate", "gpt-5.1", "gpt-5.6", 0.1, ("gpt-5.6",)),
        ("candidate", "gpt-5.1", "", 0.1, ()),
    ],
)
def test_which_models_an_alarm_speaks_of(stream, asked, second, tolerance, models):
    assert models_of(verdict(stream, tolerance), asked, second) == models
