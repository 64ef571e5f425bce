"""Prompt views of backends: their own attributes, for those that were asked for, and never a text. Verdicts as events."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from openai import OpenAI

import promptguard
from promptguard.errors import ConfigurationError
from promptguard.settings import current
from promptguard.telemetry import semconv as name
from promptguard.testing import FakeProvider
from tests.report.conftest import record

pytestmark = pytest.mark.sdk


@pytest.fixture
def call(tmp_path):
    (tmp_path / "greet").mkdir()
    (tmp_path / "greet" / "3.prompty").write_text(
        "---\nname: greet\nmetadata:\n  version: 3\ninputs:\n  who:\n    kind: string\n---\n"
        "user:\nSay canary to {{ who }}, please.\n"
    )
    return promptguard.prompts(tmp_path).get("greet@3").render(who="Ada")


def told(call, guarded, spans):
    with (
        FakeProvider({"gpt-4": lambda _: "hello"}) as provider,
        OpenAI(base_url=provider.url, api_key="k") as client,
    ):
        promptguard.wrap(client, ledger=guarded)
        client.chat.completions.create(model="gpt-4", messages=call.messages)
        client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "no prompt"}])
    rendered, plain = spans.get_finished_spans()
    assert "canary" not in rendered.to_json()
    return dict(rendered.attributes), dict(plain.attributes)


def test_each_backend_gets_what_its_prompt_view_reads(recorded, call, guarded, monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_TELEMETRY_FOR", "langfuse, datadog,phoenix,mlflow")
    found, plain = told(call, guarded, recorded[0])
    assert found["langfuse.observation.prompt.name"] == "greet"
    assert found["langfuse.observation.prompt.version"] == 3
    assert json.loads(found["_dd.ml_obs.prompt_tracking"]) == {"name": "greet", "version": "3"}
    assert found["llm.prompt_template.version"] == "greet@3"
    assert json.loads(found["mlflow.linkedPrompts"]) == [{"name": "greet", "version": "3"}]
    assert not [key for key in plain if key.startswith(("langfuse", "_dd", "llm.", "mlflow"))]


def test_unasked_none_of_them_is_there(recorded, call, guarded):
    found, _ = told(call, guarded, recorded[0])
    assert (found[name.PROMPT_NAME], found[name.PROMPT_VERSION]) == ("greet", "3")
    assert not [key for key in found if key.startswith(("langfuse", "_dd", "llm.", "mlflow"))]


def test_a_backend_that_is_not_known_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_TELEMETRY_FOR", "langfuze")
    with pytest.raises(
        ConfigurationError, match=r"PROMPTGUARD_TELEMETRY_FOR.*langfuse, datadog, phoenix, mlflow"
    ):
        current()


def test_verdicts_are_told_as_results_of_an_evaluation(logged, recorded, tmp_path):
    record(tmp_path / "ledger", switch=31, calls=90)
    events = [
        each.log_record for each in logged.get_finished_logs()
        if each.log_record.event_name == "gen_ai.evaluation.result"
    ]  # fmt: skip
    candidate = [dict(event.attributes) for event in events if event.attributes[name.STREAM] == "candidate"]
    labels = [each["gen_ai.evaluation.score.label"] for each in candidate]
    assert labels[0] == "unmeasured"
    # Told when they change, not at each of some 18 writes: once in each of two epochs, of which an alarm begins the second.
    assert max(Counter(labels).values()) <= 2, labels
    drift = candidate[labels.index("drift")]
    assert drift["gen_ai.evaluation.name"] == "promptguard.drift"
    assert drift["gen_ai.evaluation.score.value"] > 4
    assert drift["gen_ai.evaluation.explanation"]
    assert "evil.example" not in str([event.attributes for event in events])
