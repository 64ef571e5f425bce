"""A second model that refuses the first one's requests, as the real ones do: rewritten by rules, counted, never guessed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from openai import OpenAI

import promptguard
from promptguard.cli import main
from promptguard.errors import ConfigurationError
from promptguard.ledger.store import Ledger
from promptguard.testing import FakeProvider, Fault, Question

pytestmark = pytest.mark.sdk
BUDGET = promptguard.Budget(calls_per_minute=None)


def refusing(question: Question) -> str | Fault:
    """What a reasoning model takes: no `max_tokens`, no temperature but 1, no `stop` it has never heard of."""
    refused = next(
        (
            name
            for name, fine in (("max_tokens", ()), ("temperature", (1, None)), ("logit_bias", ()))
            if name in question.body and question.body[name] not in fine
        ),
        None,
    )
    if refused is None:
        return "fine"
    error = {
        "message": "no",
        "type": "invalid_request_error",
        "param": refused,
        "code": "unsupported_parameter",
    }
    return Fault("status", status=400, body=json.dumps({"error": error}).encode())


def run(*arguments: object) -> object:
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code


def outcomes(
    guarded: Path, model: str, calls: int = 6, *, rules: str | None = None, **parameters: object
) -> tuple[list[tuple[str, str, str]], FakeProvider]:
    with FakeProvider({"gpt-4o": lambda _: "fine", model: refusing}) as provider:
        client = promptguard.wrap(
            OpenAI(base_url=provider.url, api_key="k", max_retries=0),
            ledger=guarded,
            shadow=promptguard.Shadow(model=model, sample=1.0, repeat=0.0, budget=BUDGET, rules=rules),
        )
        for number in range(calls):
            asked = [{"role": "user", "content": f"question {number}"}]
            client.chat.completions.create(model="gpt-4o", messages=asked, **parameters)  # type: ignore[call-overload]
        assert promptguard.flush(60.0)
        client.close()
    ledger = Ledger(guarded)
    try:
        rows = list(ledger.pairs_after(0))
    finally:
        ledger.close()
    return [(row.outcome, row.reason, row.rules) for row in rows], provider


def test_what_has_another_name_there_is_compared_and_the_pair_says_by_which_rule(guarded: Path) -> None:
    found, provider = outcomes(guarded, "gpt-5.6", max_tokens=50)
    assert found == [("compared", "", "openai-max-completion-tokens")] * 6
    asked = [json.loads(each.raw) for each in provider.received if each.model == "gpt-5.6"]
    assert all(body["max_completion_tokens"] == 50 and "max_tokens" not in body for body in asked)
    assert all(
        json.loads(each.raw)["max_tokens"] == 50 for each in provider.received if each.model == "gpt-4o"
    )


def test_without_a_rule_nothing_is_compared_and_the_refusal_is_told_by_its_parameter(guarded: Path) -> None:
    found, _ = outcomes(guarded, "house-5", max_tokens=50)
    assert found == [("candidate_error", "house-5: status_400: max_tokens unsupported_parameter", "")] * 6


def test_a_rule_of_the_users_mends_it(guarded: Path, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(
        '[[rule]]\nid = "house"\nendpoint = "chat"\nmodels = ["house-*"]\nfields = ["max_tokens"]\nop = "rename"\n'
        'to = "max_completion_tokens"\nseverity = "lossless"\nwhy = "as it is"\nsources = ["us"]\n'
        "checked = 2026-11-26\n",
        "utf-8",
    )
    found, _ = outcomes(guarded, "house-5", max_tokens=50, rules=str(path))
    assert found == [("compared", "", "house")] * 6


def test_the_suggested_rule_mends_it(
    guarded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes(guarded, "house-5", max_tokens=50)
    assert run("status", "--ledger", guarded) == 3
    told = " ".join(capsys.readouterr().out.split())
    assert "house-5 refuses `max_tokens`: 6 pairs not comparable; add the rule" in told
    run("status", "--ledger", guarded, "--json")
    [suggestion] = json.loads(capsys.readouterr().out)["suggestions"]
    assert (suggestion["model"], suggestion["field"], suggestion["pairs"]) == ("house-5", "max_tokens", 6)
    assert run("compat", "suggest", "--ledger", guarded) == 0
    rules = tmp_path / "rules.toml"
    rules.write_text(capsys.readouterr().out, "utf-8")
    found, _ = outcomes(tmp_path / "another", "house-5", max_tokens=50, rules=str(rules))
    assert found == [("compared", "", "house-5-max-tokens")] * 6


def test_another_question_is_not_asked_counted_and_no_evidence(guarded: Path) -> None:
    found, provider = outcomes(guarded, "gpt-5.6", max_tokens=50, temperature=0)
    reason = "gpt-5.6: openai-sampling (temperature)"
    assert found == [("not_comparable", reason, "")] * 6
    assert provider.asked("gpt-5.6") == 0
    [verdict] = [each for each in promptguard.verdicts(guarded) if each.stream == "candidate"] or [None]
    assert verdict is None or (verdict.status, verdict.pairs) == ("unmeasured", 0)


def test_what_no_rule_knows_is_a_loss_with_the_providers_own_words(guarded: Path) -> None:
    found, _ = outcomes(guarded, "gpt-5.6", logit_bias={"5": 1})
    assert found == [("candidate_error", "gpt-5.6: status_400: logit_bias unsupported_parameter", "")] * 6


def test_a_file_of_rules_that_cannot_be_read_is_said_at_wrap(guarded: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml: No such file"):
        promptguard.wrap(
            OpenAI(base_url="http://127.0.0.1:9", api_key="k"),
            ledger=guarded,
            shadow=promptguard.Shadow(model="gpt-5.6", rules=str(tmp_path / "none.toml")),
        )
