"""What losses suggest: sentences, and rules that can be read."""

from __future__ import annotations

from datetime import date

import pytest

from promptguard.compat.ruleset import our_rules, read_rules
from promptguard.compat.suggesting import suggested
from promptguard.errors import ConfigurationError
from promptguard.report.model import PassedBy
from promptguard.report.suggestions import Suggestion, suggestions

TODAY = date(2026, 11, 26)


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        (
            "gpt-5.6: status_400: max_tokens unsupported_parameter",
            Suggestion("gpt-5.6", "max_tokens", 31, code="unsupported_parameter"),
        ),
        ("qwen3:8b: status_400: stop", Suggestion("qwen3:8b", "stop", 31)),
        (
            "gpt-5.6: openai-sampling (temperature)",
            Suggestion("gpt-5.6", "temperature", 31, rule="openai-sampling"),
        ),
        ("gpt-5.6: status_400: tools[0].function.strict unknown_parameter", None),
        ("status_404", None),
        ("gpt-5.6: status_400: messages[0].role unsupported_value", None),
        ("field `thread`: keeps state", None),
        ("not_asked: budget", None),
    ],
)
def test_reasons(reason: str, found: Suggestion | None) -> None:
    assert suggestions([PassedBy("not paired", reason, 31)]) == ((found,) if found else ())


def test_other_counts_say_nothing() -> None:
    assert not suggestions([PassedBy("not cached", "gpt-5.6: status_400: stop", 3)])


def test_one_pair_is_one_pair() -> None:
    assert ": 1 pair not comparable;" in Suggestion("m", "stop", 1).sentence


@pytest.mark.parametrize(
    ("field", "op", "severity"),
    [
        ("max_tokens", "rename", "lossless"),
        ("stop", "drop", "lossy"),
        ("top_logprobs_of_the_house", "drop", "lossy"),
    ],
)
def test_a_rule_is_written_that_can_be_read(field: str, op: str, severity: str) -> None:
    text = suggested('a "quoted" model[1]?*', field, "unsupported", TODAY, our_rules())
    [rule] = read_rules(text, "suggested").rule
    assert (rule.op, rule.severity, rule.fields) == (op, severity, (field,))
    assert rule.fits('a "quoted" model[1]?*')
    assert not rule.fits('a "quoted" model1xy')


@pytest.mark.parametrize(
    ("fields", "to"), [('["model"]', '"x"'), ('["max_tokens"]', '"model"'), ('["stream"]', "false")]
)
def test_no_rule_changes_which_model_is_asked(fields: str, to: str) -> None:
    text = (
        f'[[rule]]\nid = "r"\nendpoint = "chat"\nmodels = ["*"]\nfields = {fields}\nop = "set"\nto = {to}\n'
        'severity = "lossless"\nwhy = "w"\nsources = ["s"]\nchecked = 2026-11-26\n'
    )
    with pytest.raises(ConfigurationError, match="no rule changes it"):
        read_rules(text, "own.toml")
