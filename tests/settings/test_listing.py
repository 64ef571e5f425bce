"""`promptguard config show`, the page of all settings, and the ledger that commands take from settings."""

from __future__ import annotations

import json

import pytest

from promptguard.cli import main
from promptguard.ledger.store import Ledger
from tests.settings.page import PAGE, page

FILE = '[tool.promptguard.shadow]\nmodel = "gpt-4-0314"\n'


def cli(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_the_page_is_up_to_date():
    assert PAGE.read_text("utf-8") == page(), "write it anew: python -m tests.settings.page"


def test_every_setting_is_shown_with_its_source(project, monkeypatch, capsys):
    path = project(FILE) / "pyproject.toml"
    monkeypatch.setenv("PROMPTGUARD_SHADOW__SAMPLE", "0.5")
    monkeypatch.setenv("PROMPTGUARD_ON_DRIFT", "warn, route:gpt-4-0314")
    monkeypatch.setenv("PROMPTGUARD_CACHE", '{"kind": "disk"}')
    monkeypatch.setenv("PROMPTGUARD_CACHE_KEY", "secret-canary-secret-canary")
    code, out, _ = cli(capsys, "config", "show", "--sources")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert f"shadow.model gpt-4-0314 ({path}: [tool.promptguard.shadow] model)" in lines
    assert "shadow.sample 0.5 (PROMPTGUARD_SHADOW__SAMPLE)" in lines
    assert "shadow.budget.calls_per_minute 60 (default)" in lines
    assert "on_drift warn, route:gpt-4-0314 (PROMPTGUARD_ON_DRIFT)" in lines
    assert "cache.kind disk (PROMPTGUARD_CACHE)" in lines
    assert "replay none (default)" in lines
    assert "PROMPTGUARD_CACHE_KEY: set (not shown)" in lines
    assert "canary" not in out


def test_as_json(place, monkeypatch, capsys):
    monkeypatch.setenv("PROMPTGUARD_DRIFT__ALPHA", "0.001")
    code, out, _ = cli(capsys, "config", "show", "--json")
    told = json.loads(out)
    assert code == 0
    found = {row["name"]: (row["value"], row["source"]) for row in told["settings"]}
    assert found["drift.alpha"] == (0.001, "PROMPTGUARD_DRIFT__ALPHA")
    assert found["drift.split"][0] == {"candidate": 0.4, "replay": 0.4, "canary": 0.2}
    assert found["ledger"] == (".promptguard", "default")
    assert told["secrets"] == {"PROMPTGUARD_CACHE_KEY": False, "PROMPTGUARD_SECRET": False}


def test_a_wrong_setting_is_a_usage_error(place, monkeypatch, capsys):
    monkeypatch.setenv("PROMPTGUARD_SHADOW__SAMPLE", "much")
    code, out, err = cli(capsys, "config", "show")
    assert (code, out) == (2, "")
    assert "PROMPTGUARD_SHADOW__SAMPLE='much'" in err


def test_commands_look_at_the_ledger_of_the_settings(project, capsys):
    place = project('[tool.promptguard]\nledger = "kept"\n')
    Ledger(place / "kept").open()
    assert cli(capsys, "status", "--json")[0] == 3  # unmeasured, but found
    code, _, err = cli(capsys, "status", "--ledger", "elsewhere")
    assert code == 2
    assert "elsewhere" in err
    code, _, err = cli(capsys, "acknowledge", "--all")
    assert (code, "no alarm stands" in err) == (2, True)
