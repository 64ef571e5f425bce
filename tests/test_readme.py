"""What README and CONTRIBUTING promise exists: their Python runs, their commands and paths are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
from openai import OpenAI

import promptguard
from promptguard.testing import FakeProvider

ROOT = Path(__file__).parents[1]
README, CONTRIBUTING = (ROOT / name for name in ("README.md", "CONTRIBUTING.md"))
PROMPT = "---\nname: triage\ninputs:\n  ticket:\n    kind: string\n---\nuser:\n{{ ticket }}\n"


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, guarded, capsys):
    program, without_a_key = blocks(README, "python")
    (tmp_path / "prompts" / "triage").mkdir(parents=True)
    (tmp_path / "prompts" / "triage" / "1.prompty").write_text(PROMPT, "utf-8")
    monkeypatch.chdir(tmp_path)
    with FakeProvider({"gpt-4": lambda _: "fine", "gpt-4-0314": lambda _: "fine"}) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        names = {}
        exec(compile(program, str(README), "exec"), names)  # noqa: S102 - our own page
        assert isinstance(names["client"], OpenAI)
        assert provider.asked("gpt-4") == 1
        assert promptguard.is_wrapped(names["client"])
        names["client"].close()
    exec(compile(without_a_key, str(README), "exec"), names)  # noqa: S102 - our own page
    assert promptguard.is_wrapped(names["client"])
    assert capsys.readouterr().out == "a bug\n"
    names["client"].close()


@pytest.mark.parametrize("page", [README, CONTRIBUTING], ids=lambda page: page.name)
def test_every_make_target_that_is_named_exists(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"`?\bmake ([a-z][a-z-]+)\b(?=[`;\s,)&]|$)", "\n".join(code(page)), re.MULTILINE))
    assert len(named) >= 4
    assert named <= targets, named - targets


def code(page):
    """Return what is written as code, in blocks and in lines."""
    text = page.read_text("utf-8")
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return fenced + re.findall(r"`([^`\n]+)`", rest)


def test_every_command_and_option_of_the_readme_exists():
    shown = re.findall(r"\bpromptguard ([a-z]+)\b([^\n]*)", "\n".join(code(README)))
    assert len({command for command, _ in shown}) >= 5
    for command, rest in shown:
        told = _help(command)
        inner = re.match(r" ([a-z]+)\b", rest)
        if "COMMAND [ARGS]" in told and inner is not None:
            told = _help(command, inner[1])
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest):
            assert option in told, (command, option)


@cache
def _help(*command):
    done = subprocess.run(
        [sys.executable, "-m", "promptguard", *command, "--help"],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, command
    return done.stdout


@pytest.mark.parametrize("page", [README, CONTRIBUTING], ids=lambda page: page.name)
def test_every_path_that_is_named_exists(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    package = ROOT / "src" / "promptguard"
    roots = (ROOT, package, package / "drift", ROOT / "tests" / "drift")
    paths = [word for word in code(page) if re.fullmatch(r"[\w./-]+(/|\.(py|md|toml|json))", word)]
    made = {".venv", "prompts", "promptguard-report.html", "pairs.jsonl"}
    for path in links + [each for each in paths if each.split("/")[0] not in made]:
        assert any((root / path).exists() for root in roots), path


def test_constraints_name_every_dependency_of_their_groups():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import environments
    finally:
        sys.path.remove(str(ROOT / "tools"))
    for name, groups in environments.LOCKS.items():
        text = (ROOT / "constraints" / f"{name}.txt").read_text("utf-8")
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert lines == sorted(lines, key=lambda line: line.partition("==")[0])
        assert not re.search(r"://|--index|file:", text)
        locked = {line.partition("==")[0] for line in lines}
        for group in ("build", *groups):
            asked = [one for each in environments.requirements(group) for one in environments._expanded(each)]
            wanted = {environments._normal(re.split(r"[<>=\[;! ]", each)[0]) for each in asked}
            assert wanted <= locked, f"run `make constraints`: {name} lacks {sorted(wanted - locked)}"


def test_the_version_is_written_twice_alike():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == promptguard.__version__
