"""Pairs as they are shown: furthest apart first, tool calls, JSON by path, the trace, what a prompt costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import promptguard
from promptguard.background.following import trace_id
from promptguard.dashboard.diff import json_diff
from promptguard.dashboard.serving import checked_trace_url
from promptguard.dashboard.views import Views
from promptguard.drift import Answer, vectorise
from promptguard.errors import ConfigurationError
from promptguard.ledger.store import Ledger
from promptguard.report.overview import read_overview
from promptguard.report.pairs import WINDOW, Filter, read_pair, read_pairs
from tests.conftest import close_backgrounds
from tests.dashboard.conftest import serving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def row(number: int, other: str, **more: object) -> dict[str, object]:
    vector = vectorise(Answer("Yes, it is."), Answer(other), seed=b"s" * 16).to_bytes()
    return {
        "stream": "candidate", "epoch": 1, "group": "triage@3", "at": 1e9 + number, "call": number, "outcome": "compared",
        "reason": "", "asked": "m", "control_model": "m", "candidate_model": "n", "vector": vector, "usd": 0.25, **more,
    }  # fmt: skip


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    ledger = Ledger(tmp_path / "ledger")
    tools = [
        [{"name": "find", "arguments": '{"city": "Paris"}'}],
        [{"name": "find", "arguments": '{"city": "Rome"}'}],
    ]
    content = {
        "question": json.dumps([{"role": "user", "content": "Where?"}]).encode(), "control": b"", "candidate": b"",
        "tools": json.dumps(tools).encode(),
    }  # fmt: skip
    rows = [row(number, "Yes, it is.") for number in range(WINDOW + 5)]
    rows += [
        row(900, "I cannot help with that, sorry. " * 9),
        row(901, "Yes, it was.", content=content, trace=TRACE),
    ]
    rows.append(
        {**row(902, ""), "outcome": "candidate_error", "reason": "status_500", "vector": None, "usd": 0.5}
    )
    ledger.write_pairs(rows)  # type: ignore[arg-type]
    ledger.close()
    return tmp_path / "ledger"


def test_the_furthest_apart_of_the_newest_come_first(filled: Path) -> None:
    found = read_pairs(filled, Filter())
    assert [pair.call for pair in found.pairs] == [900, 901]  # equal answers do not differ
    assert (found.seen, found.matching) == (WINDOW, 2)
    assert found.pairs[0].differences[0].phrase == "a refusal"
    older = read_pairs(filled, Filter(show="all", before=found.older))
    assert older.seen == WINDOW + 8 - WINDOW
    lost = read_pairs(filled, Filter(show="lost"))
    assert [pair.reason for pair in lost.pairs] == ["status_500"]


def test_differences_are_told_in_units_that_people_have(filled: Path) -> None:
    told = {
        each.phrase: (each.control, each.candidate)
        for each in read_pairs(filled, Filter()).pairs[0].differences
    }
    assert told["length"] == ("11 characters", "288 characters")


def test_tool_calls_and_the_trace_are_on_the_pages_of_a_pair(filled: Path) -> None:
    number = read_pairs(filled, Filter()).pairs[1].id
    pair = read_pair(filled, number)
    assert pair is not None
    assert pair.texts is not None
    assert pair.texts.control_tools == (("find", '{\n "city": "Paris"\n}'),)
    with serving(filled) as site:
        text = site.ask(f"/pair?id={number}").text
        assert "&#34;Rome&#34;" in text
        assert TRACE in text
        assert "16686" not in text
    assert Views(filled, "http://x/{trace_id}").trace_link(TRACE) == f"http://x/{TRACE}"
    assert Views(filled, "http://x/{trace_id}").trace_link("javascript:x") == ""


@pytest.mark.parametrize("wrong", ["javascript:{trace_id}", "http://x/", "x", "file:///{trace_id}"])
def test_an_address_of_traces_is_one(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="--trace-url"):
        checked_trace_url(wrong)
    assert checked_trace_url("https://x/{trace_id}") == "https://x/{trace_id}"


@pytest.mark.parametrize("link", [None, "", "x", f"00-{TRACE}", f"00-{TRACE.upper()}-00f067aa0ba902b7-01"])
def test_what_is_no_traceparent_has_no_trace(link: str | None) -> None:
    assert trace_id(link) == ""
    assert trace_id(f"00-{TRACE}-00f067aa0ba902b7-01") == TRACE


@pytest.mark.sdk
def test_a_prompt_says_what_it_costs(recorded) -> None:
    rows = [row for row in read_overview(recorded.path).rows if row.stream == "candidate"]
    assert rows[0].usd is not None
    assert rows[0].usd > 0


@pytest.mark.sdk
def test_tool_calls_are_kept_with_the_texts(tmp_path: Path) -> None:
    openai = pytest.importorskip("openai")
    from promptguard.testing import FakeProvider, Served

    def calling(city: str) -> object:
        call = {
            "id": "c1",
            "type": "function",
            "function": {"name": "find", "arguments": json.dumps({"city": city})},
        }
        return lambda _: Served("", tool_calls=(call,), finish_reason="tool_calls")

    tool = {
        "type": "function",
        "function": {"name": "find", "parameters": {"type": "object", "properties": {}}},
    }
    with FakeProvider({"m": calling("Paris"), "n": calling("Rome")}) as provider:
        client = promptguard.wrap(
            openai.OpenAI(base_url=provider.url, api_key="k"),
            ledger=tmp_path / "ledger",
            shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0),
            record_content=True,
        )
        client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Where?"}], tools=[tool]
        )
        assert promptguard.flush(100.0)
        client.close()
        close_backgrounds()
    (pair,) = read_pairs(tmp_path / "ledger", Filter(show="all")).pairs
    assert pair.texts is not None
    assert [name for name, _ in pair.texts.control_tools] == ["find"]
    assert "Rome" in pair.texts.candidate_tools[0][1]


def test_json_is_compared_by_path() -> None:
    found = json_diff(
        '```json\n{"a": 1, "b": [1, {"c": "x"}], "odd key": 1}\n```', '{"a": 1.5, "b": [1, {"c": "y"}, 2]}'
    )
    assert found is not None
    assert [(each.path, each.first, each.second) for each in found] == [
        ("$.a", "1", "1.5"), ("$.b[1].c", '"x"', '"y"'), ("$.b[2]", None, "2"), ('$["odd key"]', "1", None),
    ]  # fmt: skip
    assert json_diff("no json", "{}") is None
    assert json_diff("[" * 100_000, "[]") is None


@pytest.mark.sdk
def test_a_link_of_grafana_leads_to_a_prompt_without_a_version(recorded) -> None:
    (group,) = {row.group for row in read_overview(recorded.path).rows if row.group}
    views = Views(recorded.path)
    assert views.prompt({"group": f"{group}@"}) is not None
    assert views.prompt({"group": "another@"}) is None
