"""`prompts lint --on MODEL`: what a model refuses of a folder's prompts."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from promptguard.certifying.breaks import breaks
from promptguard.cli import main
from promptguard.compat.ruleset import our_rules
from promptguard.templates.library import PromptLibrary

HEAD = (
    "---\nmodel:\n  id: gpt-4o\n  options: {{{options}}}\n{more}---\nsystem:\nBe short.\n\nuser:\n{{{{x}}}}\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "prompts" / "triage"
    place.mkdir(parents=True)
    cold = HEAD.format(options="temperature: 0, maxOutputTokens: 50, stopSequences: [END]", more="")
    (place / "1.prompty").write_text(cold, "utf-8")
    (place / "2.prompty").write_text(HEAD.format(options="", more='models: ["claude-*"]\n'), "utf-8")
    return tmp_path / "prompts"


def told(folder: Path, model: str, today: date = date(2026, 11, 26)) -> list[tuple[str, str]]:
    found = breaks(PromptLibrary(folder), model, our_rules(), today)
    return [(each.level, f"{each.where}: {each.message}") for each in found]


def test_what_the_model_refuses_is_an_error_with_rule_and_source(folder: Path) -> None:
    [(level, text)] = told(folder, "gpt-5.6")
    assert level == "error"
    assert text.startswith("triage@1: on gpt-5.6: `temperature` is left out: ")
    assert "else 400 unsupported_value; lossy; openai-sampling: " in text
    assert [text.split("`")[1] for _, text in told(folder, "o3")] == ["temperature", "stop"]


def test_a_model_that_takes_all_has_nothing_said(folder: Path) -> None:
    assert told(folder, "gpt-4o") == []


def test_a_name_that_no_rule_knows_is_told_with_the_nearest(folder: Path) -> None:
    [(level, text)] = told(folder, "gpt5.6")
    assert (level, "did you mean gpt-5.6?" in text) == ("warning", True)
    assert [level for level, _ in told(folder, "llama-3.1-70b")] == ["warning"]


def test_a_variant_is_looked_at_on_its_own_models(folder: Path) -> None:
    lines = [text for _, text in told(folder, "claude-opus-5")]
    assert any("triage@2: on claude-opus-5: anthropic needs a limit" in line for line in lines)
    assert not any("triage@2" in text for _, text in told(folder, "gpt-5.6"))


def test_what_is_only_to_be_known_is_a_warning(folder: Path) -> None:
    assert [(level, "may loop" in text) for level, text in told(folder, "gemini-3-pro")] == [
        ("warning", True)
    ]


def test_the_end_of_a_model(folder: Path) -> None:
    ending = our_rules().model[0]
    model = ending.models[0].replace("*", "")
    assert told(folder, model, date(2000, 1, 1))[0][0] == "warning"
    level, text = told(folder, model, date(2100, 1, 1))[0]
    assert level == "error"
    assert f"it ended on {ending.ends}" in text


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def run(*arguments: str) -> object:
        with pytest.raises(SystemExit) as ended:
            main(["prompts", "lint", "--prompts", str(folder), *arguments])
        return ended.value.code

    assert run() == 0
    assert run("--on", "gpt-4o") == 0
    capsys.readouterr()
    assert run("--on", "gpt-5.6", "--json") == 2
    assert json.loads(capsys.readouterr().out)["findings"][-1]["where"] == "triage@1"
    assert run("--on", "gpt-5.6", "--rules", str(tmp_path / "none.toml")) == 2
    assert "none.toml: No such file" in capsys.readouterr().err
