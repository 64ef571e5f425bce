"""The engine that fits a request to a model, and rules as data."""

from __future__ import annotations

import copy
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptguard.compat.engine import fit
from promptguard.compat.ruleset import our_rules, read_rules, rules_with
from promptguard.errors import ConfigurationError

RULES = our_rules()
ASK = {"messages": [{"role": "user", "content": "Hi"}]}


def test_a_renamed_parameter_asks_the_same() -> None:
    fitted = fit({**ASK, "max_tokens": 50}, "gpt-5.6", "chat", RULES)
    assert fitted.body == {**ASK, "max_completion_tokens": 50}
    assert fitted.severity == "lossless"
    assert fitted.is_comparable
    assert fitted.applied[0].sentence().startswith("`max_tokens` becomes `max_completion_tokens`: ")


def test_a_new_name_that_is_there_already_is_kept() -> None:
    fitted = fit({**ASK, "max_tokens": 50, "max_completion_tokens": 9}, "gpt-5.6", "chat", RULES)
    assert fitted.body["max_completion_tokens"] == 9
    assert "max_tokens" not in fitted.body


def test_the_body_given_is_not_changed() -> None:
    thought = {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "y"}],
    }
    body = {"messages": [thought], "thinking": {"type": "enabled", "budget_tokens": 9_000}, "max_tokens": 5}
    before = copy.deepcopy(body)
    fitted = fit(body, "claude-sonnet-5", "messages", RULES, "2023-06-01")
    assert body == before
    assert fitted.body["messages"] == [{"role": "assistant", "content": [{"type": "text", "text": "y"}]}]
    assert fitted.body["thinking"] == {"type": "adaptive"}
    assert fitted.body["output_config"] == {"effort": "medium"}


def test_what_blocks_outweighs_what_is_lossy() -> None:
    body = {"messages": [{"role": "assistant", "content": "{"}], "temperature": 0.2}
    fitted = fit(body, "claude-opus-5", "messages", RULES, "2023-06-01")
    assert fitted.severity == "blocking"
    assert not fitted.is_comparable


def test_a_budget_of_thinking_becomes_a_level() -> None:
    body = {"contents": [], "generationConfig": {"temperature": 1, "thinkingConfig": {"thinkingBudget": 512}}}
    fitted = fit(body, "gemini-3-pro", "generate", RULES)
    assert fitted.body["generationConfig"] == {"temperature": 1, "thinkingConfig": {"thinkingLevel": "low"}}


def test_what_is_only_worth_knowing_changes_nothing() -> None:
    body = {"contents": [], "generationConfig": {"temperature": 0.2}}
    fitted = fit(body, "gemini-3-pro", "generate", RULES)
    assert fitted.body == body
    assert fitted.severity is None
    assert [note.id for note in fitted.notes] == ["gemini-temperature"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([
    "messages", "contents", "generationConfig", "thinking", "temperature", "max_tokens", "reasoning", "tool_choice",
    "output_config",
])  # fmt: skip


@given(
    st.dictionaries(NAMES, JSON), st.sampled_from(["gpt-5.6", "o1-mini", "claude-opus-5-5", "gemini-3-pro"])
)
def test_no_body_raises(body: dict[str, Any], model: str) -> None:
    for endpoint in ("chat", "responses", "messages", "generate"):
        fit(body, model, endpoint, RULES, "2026-10-21")  # type: ignore[arg-type]


def test_every_rule_has_its_sources_and_the_day_it_was_checked() -> None:
    ids = [rule.id for rule in RULES.rule]
    assert len(ids) == len(set(ids))
    assert all(rule.sources and rule.checked >= date(2026, 1, 1) for rule in RULES.rule)


def test_retirements_are_known() -> None:
    found = RULES.retirement("claude-sonnet-4-5-20250929")
    assert found is not None
    assert found.ends == date(2026, 11, 30)
    assert RULES.retirement("claude-opus-5") is None


RULE = """
[[rule]]
id = "mine"
endpoint = "chat"
models = ["house-*"]
fields = ["top_p"]
op = "clamp"
to = 0.9
severity = "lossy"
why = "the house server refuses more"
sources = ["us"]
checked = 2026-11-26
"""


def test_a_file_of_the_users_adds_rules_and_replaces_ours_by_id(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(RULE + RULE.replace("mine", "openai-stop").replace("house", "none"), "utf-8")
    rules = rules_with(path)
    assert fit({**ASK, "top_p": 0.95}, "house-1", "chat", rules).body["top_p"] == 0.9
    assert fit({**ASK, "top_p": 0.5}, "house-1", "chat", rules).body["top_p"] == 0.5
    assert not fit({**ASK, "stop": ["x"]}, "o3", "chat", rules).applied


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rule = 3", "rules.toml: rule"),
        ("[[rule]\nid = 1", "rules.toml: "),
        (RULE.replace('op = "clamp"', 'op = "melt"'), "rule.0.op"),
        (RULE.replace('op = "clamp"', 'op = "block"'), "severity `blocking`"),
        (RULE.replace('op = "clamp"', 'op = "convert"'), "there is no converter"),
        (RULE + 'if = "sunny"\n', "there is no condition 'sunny'"),
        (RULE.replace("to = 0.9", 'to = "x"'), "clamp needs the largest value"),
        (RULE.replace('models = ["house-*"]', "models = []"), "rule.0.models"),
        (RULE + "colour = 1\n", "rule.0.colour"),
    ],
)
def test_a_wrong_file_of_rules_is_one_clear_error(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_rules(text, "rules.toml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        rules_with(tmp_path / "none.toml")


def test_fitting_a_large_request_takes_no_longer_than_copying_it() -> None:
    body = {"messages": [{"role": "user", "content": "x" * 1000}] * 1000, "max_tokens": 5}
    assert json.dumps(fit(body, "gpt-5.6", "chat", RULES).body["messages"]) == json.dumps(body["messages"])
