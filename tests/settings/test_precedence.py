"""Code counts more than the environment, the environment more than pyproject.toml, and that more than defaults."""

from __future__ import annotations

import os
import time

import pytest

import promptguard
from promptguard import Cache, Drift, Raise, Replay, Route, Shadow, Warn
from promptguard.arguments import wanted
from promptguard.settings import NOT_GIVEN, current, origins
from promptguard.settings.loading import DEFAULTS

FILE = """
[tool.promptguard]
on_drift = ["warn", {route = "gpt-4-0314"}]
seed = 7
[tool.promptguard.shadow]
model = "from-file"
sample = 0.25
[tool.promptguard.shadow.budget]
usd_per_day = 5
"""


def given(**arguments):
    names = (
        "ledger",
        "cache",
        "shadow",
        "replay",
        "drift",
        "on_drift",
        "record_content",
        "fields",
        "compat",
        "seed",
    )
    return wanted(**(dict.fromkeys(names, NOT_GIVEN) | arguments), prompts=None, clock=time.time)


def test_without_anything_the_defaults_hold_and_pydantic_settings_is_not_needed(place):
    assert current() is DEFAULTS
    assert given().actions == (Warn(),)


def test_the_file_counts_more_than_defaults(project):
    project(FILE)
    found = current()
    assert found.shadow == Shadow("from-file", sample=0.25, budget=promptguard.Budget(usd_per_day=5))
    assert found.on_drift == (Warn(), Route("gpt-4-0314"))
    assert found.seed == 7


def test_the_file_is_found_upwards(project, monkeypatch):
    inner = project(FILE) / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert current().shadow.model == "from-file"
    (inner / "pyproject.toml").write_text(
        "[project]\nname = 'x'\n", "utf-8"
    )  # the nearest one is the only one
    assert current() is DEFAULTS


def test_the_environment_counts_more_key_by_key(project, monkeypatch):
    project(FILE)
    monkeypatch.setenv("PROMPTGUARD_SHADOW__MODEL", "from-environment")
    monkeypatch.setenv("PROMPTGUARD_SHADOW__BUDGET__CALLS_PER_DAY", "9")
    monkeypatch.setenv("PROMPTGUARD_ON_DRIFT", "raise")
    found = current()
    assert found.shadow.model == "from-environment"
    assert found.shadow.sample == 0.25
    assert (found.shadow.budget.usd_per_day, found.shadow.budget.calls_per_day) == (5, 9)
    assert found.on_drift == (Raise(),)


def test_code_counts_most_and_none_is_something_that_was_given(project):
    project(FILE)
    assert given().shadow.model == "from-file"
    assert given(shadow=Shadow("from-code")).shadow == Shadow("from-code")
    assert given(shadow=None).shadow is None
    assert given(seed=None).seed is None


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("CACHE", "memory", "cache", Cache("memory")),
        ("CACHE", "disk", "cache", Cache("disk", max_bytes=1024**3)),
        ("CACHE__TTL", "6h", "cache", Cache(ttl="6h")),
        ("CACHE__TTL", "90", "cache", Cache(ttl=90)),
        ("CACHE__TENANT", "42", "cache", Cache(tenant="42")),
        ("CACHE__TAGS", "a, b", "cache", Cache(tags=("a", "b"))),
        ("CACHE__TAGS", '["a", "b"]', "cache", Cache(tags=("a", "b"))),
        ("CACHE__SINGLE_FLIGHT", "off", "cache", Cache(single_flight=False)),
        ("CACHE", '{"kind": "disk", "ttl": "1d"}', "cache", Cache("disk", ttl="1d")),
        ("REPLAY", "on", "replay", Replay()),
        ("REPLAY__AFTER", "15m", "replay", Replay(after="15m")),
        ("REPLAY", "none", "replay", None),
        ("DRIFT__ALPHA", "0.001", "drift", Drift(alpha=0.001)),
        ("DRIFT__MODE", "gate", "drift", Drift(mode="gate")),
        ("DRIFT__SPLIT", '{"candidate": 1.0}', "drift", Drift(split={"candidate": 1.0})),
        ("ON_DRIFT", "warn, route:gpt-4-0314", "on_drift", (Warn(), Route("gpt-4-0314"))),
        ("RECORD_CONTENT", "yes", "record_content", True),
        ("RECORD_CONTENT", "None", "record_content", None),
        ("SEED", "3", "seed", 3),
        ("COMPAT", "lossless", "compat", promptguard.Compat(mode="lossless")),
        ("FIELDS", '{"my_field": "none"}', "fields", {"my_field": "none"}),
        ("LEDGER", "7", "ledger", "7"),
        ("SHADOW__MODEL", "", "shadow", None),
    ],
)
def test_what_a_variable_means(place, monkeypatch, variable, text, name, value):
    monkeypatch.setenv(f"PROMPTGUARD_{variable}", text)
    assert getattr(current(), name) == value


def test_a_variable_takes_away_what_the_file_says(project, monkeypatch):
    project(FILE)
    monkeypatch.setenv("PROMPTGUARD_SHADOW", "off")
    assert current().shadow is None


@pytest.mark.parametrize(
    ("variables", "section"),
    [
        ({"SHADOW": "off", "SHADOW__MODEL": "x"}, "shadow"),
        ({"REPLAY": "none", "REPLAY__SHARE": "0.5"}, "replay"),
        ({"CACHE": "off", "CACHE__TTL": "1h"}, "cache"),
        ({"COMPAT": "off", "COMPAT__MODE": "lossless"}, "compat"),
    ],
)
def test_a_section_that_is_switched_off_stays_off_whatever_its_parts_say(
    place, monkeypatch, variables, section
):
    for name, text in variables.items():
        monkeypatch.setenv(f"PROMPTGUARD_{name}", text)
    assert getattr(current(), section) is None


@pytest.mark.parametrize("written", [None, "lossless"])
def test_requests_are_only_reported_where_settings_say_so(project, monkeypatch, written):
    project("" if written is None else f'[tool.promptguard]\ncompat = "{written}"')
    monkeypatch.setenv("PROMPTGUARD_COMPAT", "report")
    assert current().compat is None
    monkeypatch.delenv("PROMPTGUARD_COMPAT")
    project('[tool.promptguard]\ncompat = "report"')
    assert current().compat is None


@pytest.mark.parametrize("between", [" ", ",", ", ", " , ", " ,", "  "])
def test_channels_are_separated_by_spaces_or_commas(place, monkeypatch, between):
    addresses = ("slack:https://hooks.example.com/a,b", "webhook:https://example.com/c")
    monkeypatch.setenv("PROMPTGUARD_ALERTS", between.join(addresses) + ",")
    slack, webhook = current().alerts
    assert (slack.clear("url"), webhook.clear("url")) == tuple(each.partition(":")[2] for each in addresses)


def test_a_ledger_in_the_file_is_beside_the_file(project, monkeypatch):
    inner = project('[tool.promptguard]\nledger = "state/guard"\n') / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    assert current().ledger == str(inner.parent / "state" / "guard")
    monkeypatch.setenv("PROMPTGUARD_LEDGER", "elsewhere")
    assert current().ledger == "elsewhere"


def test_it_is_known_where_each_came_from(project, monkeypatch):
    path = project(FILE) / "pyproject.toml"
    monkeypatch.setenv("PROMPTGUARD_SHADOW__MODEL", "x")
    found = origins()
    assert found["shadow", "model"] == "PROMPTGUARD_SHADOW__MODEL"
    assert found["shadow", "sample"] == f"{path}: [tool.promptguard.shadow] sample"
    assert found["shadow", "budget", "usd_per_day"] == f"{path}: [tool.promptguard.shadow.budget] usd_per_day"


def test_settings_are_read_again_only_when_they_have_changed(project, monkeypatch):
    path = project(FILE) / "pyproject.toml"
    first = current()
    assert current() is first
    began = time.perf_counter()
    for _ in range(200):
        current()
    assert (time.perf_counter() - began) / 200 < 0.02  # about 60 µs on an idle machine
    path.write_text(FILE.replace("from-file", "changed"), "utf-8")
    os.utime(path, ns=(1, 1))
    assert current().shadow.model == "changed"


def test_a_directory_that_is_gone_has_no_file(place, monkeypatch):
    gone = place / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert current() is DEFAULTS


def test_a_wrapped_client_takes_them(project, monkeypatch):
    openai = pytest.importorskip("openai")
    project('[tool.promptguard]\ncache = "memory"\nledger = "kept"\n')
    with openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="k") as client:
        promptguard.wrap(client)
        promptguard.clear_cache(client)
        from promptguard.http.transport import ports_of

        assert ports_of(client._client).cache is not None
        promptguard.wrap(client, cache=None)
        assert ports_of(client._client).cache is None
