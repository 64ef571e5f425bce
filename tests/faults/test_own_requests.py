"""`compat="apply"`: the application's own requests in words that the model takes, and as they were where that is wrong."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

import promptguard
from promptguard import wire
from promptguard.compat.requests import OwnRequests
from promptguard.core.model import Request
from promptguard.errors import ConfigurationError
from promptguard.testing import FakeProvider, Fault, Question

pytestmark = pytest.mark.sdk
ClientOf = Callable[..., OpenAI]
BUDGET = promptguard.Budget(calls_per_minute=None)
WRONG_RULE = (
    '[[rule]]\nid = "wrong"\nendpoint = "chat"\nmodels = ["house-*"]\nfields = ["max_tokens"]\nop = "rename"\n'
    'to = "max_completion_tokens"\nseverity = "lossless"\nwhy = "somebody thought so"\nsources = ["us"]\n'
    "checked = 2026-11-26\n"
)


def refusing(*names: str) -> Callable[[Question], str | Fault]:
    def answer(question: Question) -> str | Fault:
        refused = next((name for name in names if name in question.body), None)
        if refused is None:
            return "fine"
        error = {"message": f"no {refused} here", "param": refused, "code": "unsupported_parameter"}
        return Fault("status", status=400, body=json.dumps({"error": error}).encode())

    return answer


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    models = {
        "gpt-5.6": refusing("max_tokens", "temperature"),
        "gpt-4o": refusing(),
        "house-1": refusing("max_completion_tokens"),
    }
    with FakeProvider(models) as started:
        yield started


@pytest.fixture
def client_of(provider: FakeProvider, guarded: Path) -> Iterator[ClientOf]:
    made = []

    def wrapped(**options: Any) -> OpenAI:
        made.append(OpenAI(base_url=provider.url, api_key="k", max_retries=0))
        return promptguard.wrap(made[-1], ledger=guarded, **options)

    yield wrapped
    for client in made:
        client.close()


def ask(client: OpenAI, model: str, text: str = "hello", **parameters: Any) -> str | None:
    asked: Any = [{"role": "user", "content": text}]
    return (
        client.chat.completions.create(model=model, messages=asked, **parameters).choices[0].message.content
    )


def bodies(provider: FakeProvider) -> list[dict[str, Any]]:
    return [json.loads(each.raw) for each in provider.received]


@pytest.mark.parametrize("compat", [None, "report"])
def test_unless_it_is_asked_for_the_request_is_never_touched(
    provider: FakeProvider, client_of: ClientOf, compat: str | None
) -> None:
    client = client_of(cache="memory", compat=compat)
    with pytest.raises(BadRequestError, match="no max_tokens here"):
        ask(client, "gpt-5.6", max_tokens=50)
    assert [body.get("max_tokens") for body in bodies(provider)] == [50]


def test_apply_says_it_in_other_words(
    provider: FakeProvider, caplog: pytest.LogCaptureFixture, client_of: ClientOf
) -> None:
    caplog.set_level(logging.INFO, "promptguard")
    client = client_of(compat="apply")
    for _ in range(2):
        assert ask(client, "gpt-5.6", max_tokens=50, temperature=0.5) == "fine"
    for body in bodies(provider):
        assert body["max_completion_tokens"] == 50
        assert {"max_tokens", "temperature"}.isdisjoint(body)
    told = [record for record in caplog.records if record.message.startswith("compat:")]
    assert [(record.levelname, "gpt-5.6" in record.message) for record in told] == [
        ("INFO", True),
        ("WARNING", True),
    ]  # each rule once, and loudly where something is left out


def test_a_stream_is_written_anew_as_well(provider: FakeProvider, client_of: ClientOf) -> None:
    client = client_of(compat="apply")
    asked: Any = [{"role": "user", "content": "hello"}]
    with client.chat.completions.create(model="gpt-5.6", messages=asked, max_tokens=9, stream=True) as stream:
        told = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert told == "fine"


def test_lossless_leaves_a_request_alone_that_would_be_another_one(
    provider: FakeProvider, client_of: ClientOf
) -> None:
    client = client_of(compat="lossless")
    assert ask(client, "gpt-5.6", max_tokens=50) == "fine"
    with pytest.raises(BadRequestError):
        ask(client, "gpt-5.6", max_tokens=50, temperature=0.5)
    assert bodies(provider)[-1]["max_tokens"] == 50


def test_a_model_that_no_rule_knows_is_asked_as_the_application_wrote(
    provider: FakeProvider, client_of: ClientOf
) -> None:
    ask(client_of(compat="apply"), "gpt-4o", max_tokens=50)
    assert bodies(provider)[0]["max_tokens"] == 50


def test_a_rule_that_the_server_refuses_costs_one_request_and_is_dropped(
    provider: FakeProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture, client_of: ClientOf
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(WRONG_RULE, "utf-8")
    client = client_of(compat=promptguard.Compat(rules=str(rules)))
    assert ask(client, "house-1", max_tokens=50) == "fine"
    assert ask(client, "house-1", max_tokens=50) == "fine"
    assert ["max_tokens" in body for body in bodies(provider)] == [False, True, True]
    assert "are left as they are for ten minutes" in caplog.text


def test_what_the_application_wrote_wrongly_is_its_own_error(
    provider: FakeProvider, client_of: ClientOf
) -> None:
    provider.models["gpt-5.6"] = refusing("max_tokens", "max_completion_tokens")
    client = client_of(compat="apply")
    with pytest.raises(BadRequestError, match="no max_tokens here"):
        ask(client, "gpt-5.6", max_tokens=50)


def test_a_refusal_that_is_of_no_parameter_is_not_asked_twice(
    provider: FakeProvider, client_of: ClientOf
) -> None:
    provider.models["gpt-5.6"] = lambda _: Fault("status", status=404)
    with pytest.raises(NotFoundError):
        ask(client_of(compat="apply"), "gpt-5.6", max_tokens=50)
    assert provider.asked("gpt-5.6") == 1


def test_answers_are_cached_by_what_was_asked(provider: FakeProvider, client_of: ClientOf) -> None:
    client = client_of(compat="apply", cache="memory")
    for _ in range(2):
        ask(client, "gpt-5.6", max_tokens=50)
    ask(client, "gpt-5.6", max_completion_tokens=50)  # the same question
    assert provider.asked("gpt-5.6") == 1
    ask(client, "gpt-5.6", max_tokens=51)
    assert provider.asked("gpt-5.6") == 2


def test_pairs_compare_what_was_asked_and_not_what_was_written(
    provider: FakeProvider, client_of: ClientOf
) -> None:
    """A temperature that was left out on one side must not be asked of the other."""
    shadow = promptguard.Shadow(model="gpt-4o", sample=1.0, repeat=0.0, budget=BUDGET)
    client = client_of(compat="apply", shadow=shadow)
    ask(client, "gpt-5.6", max_tokens=50, temperature=0.5)
    assert promptguard.flush(60.0)
    [ours] = [body for body in bodies(provider) if body["model"] == "gpt-5.6"]
    [theirs] = [body for body in bodies(provider) if body["model"] == "gpt-4o"]
    assert {**ours, "model": ""} == {**theirs, "model": ""}


@pytest.mark.parametrize("wrong", ["aply", "on", 1, True])
def test_a_wrong_value_is_told_with_what_to_write(
    provider: FakeProvider, wrong: object, client_of: ClientOf
) -> None:
    with pytest.raises(ConfigurationError, match=r'"report", "apply", "lossless" or promptguard\.Compat'):
        client_of(compat=wrong)


def test_settings_outside_code(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, client_of: ClientOf
) -> None:
    monkeypatch.setenv("PROMPTGUARD_COMPAT", "apply")
    assert ask(client_of(), "gpt-5.6", max_tokens=50) == "fine"
    monkeypatch.setenv("PROMPTGUARD_COMPAT", "aply")
    with pytest.raises(ConfigurationError, match=r'PROMPTGUARD_COMPAT.*did you mean "apply"'):
        client_of()


def test_a_signature_over_the_body_is_left_whole(provider: FakeProvider, client_of: ClientOf) -> None:
    """By a header that is known, the request is not touched; by one that is not, it is sent once more as it was."""
    client = client_of(compat="apply")
    with pytest.raises(BadRequestError, match="no max_tokens here"):
        ask(client, "gpt-5.6", max_tokens=50, extra_headers={"content-digest": "sha-256=:x:"})
    assert provider.asked("gpt-5.6") == 1

    def gateway(question: Question) -> str | Fault:
        return "fine" if "max_tokens" in question.body else Fault("status", status=401)

    provider.models["gpt-5.6"] = gateway
    assert ask(client, "gpt-5.6", max_tokens=50) == "fine"


@pytest.mark.parametrize("compat", ["apply", "lossless"])
def test_a_models_own_thoughts_stay_in_its_history(compat: str, client_of: ClientOf) -> None:
    """A rule about what another model left behind is none about a model's own."""
    rewriting = OwnRequests(promptguard.Compat(mode=compat))  # type: ignore[arg-type]
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    turns = [{"role": "assistant", "content": [thought]}, {"role": "user", "content": "and?"}]
    body = {
        "model": "claude-opus-4-5",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}, *turns],
    }
    request = Request("POST", "http://h", "/v1/messages", (), json.dumps(body).encode())
    facts = wire.named("anthropic_messages").read_request(request)
    assert facts is not None
    assert rewriting.write(request, facts, "claude-opus-4-5", own=True) is None
    moved = rewriting.write(request, facts, "claude-opus-4-5", own=False)
    assert moved is not None
    assert [turn["role"] for turn in json.loads(moved.request.body)["messages"]] == ["user", "user"]


def test_what_a_server_does_not_take_is_tried_again_after_a_while() -> None:
    now = [0.0]
    rewriting = OwnRequests(promptguard.Compat(), clock=lambda: now[0])
    body = {"model": "gpt-5.6", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    request = Request("POST", "http://h", "/v1/chat/completions", (), json.dumps(body).encode())
    facts = wire.named("openai_chat").read_request(request)
    assert facts is not None
    written = rewriting.write(request, facts, "gpt-5.6", own=True)
    assert written is not None
    rewriting.leave_alone("gpt-5.6", written.rules)
    assert rewriting.write(request, facts, "gpt-5.6", own=True) is None
    rewriting.leave_alone("gpt-5.6", "another-rule")
    now[0] = 601.0
    assert rewriting.write(request, facts, "gpt-5.6", own=True) is not None


def test_a_limit_that_is_said_as_null_is_none(provider: FakeProvider, client_of: ClientOf) -> None:
    ask(client_of(compat="apply"), "gpt-5.6", max_tokens=5, extra_body={"max_completion_tokens": None})
    assert bodies(provider)[0]["max_completion_tokens"] == 5


def test_half_a_character_travels_as_json_says_it(provider: FakeProvider, client_of: ClientOf) -> None:
    raw = b'{"model":"gpt-5.6","max_tokens":5,"messages":[{"role":"user","content":"\\ud800"}]}'
    request = Request("POST", "http://h", "/v1/chat/completions", (), raw)
    body = json.loads(raw)
    assert json.loads(request.with_body(body).body.decode("ascii")) == body
