"""docs/guides/watch.md: what is to be copied from there is what its tools read, and names options that there are."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from pathlib import Path

import pytest
import typer.main
import yaml

from promptguard.cli import build

PAGE = Path("docs/guides/watch.md").read_text("utf-8")


def block(language):
    return re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[1]


def check(words):
    """Parse the words that follow `promptguard watch` as the command would."""
    command = typer.main.get_command(build(["watch"]))
    command = getattr(command, "commands", {"watch": command})["watch"]
    with command.make_context("watch", list(words)) as context:
        return context.params


def test_the_systemd_unit():
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str
    unit.read_string(block("ini"))
    assert set(unit.sections()) == {"Unit", "Service", "Install"}
    program, command, *words = shlex.split(unit["Service"]["ExecStart"])
    assert (Path(program).name, command) == ("promptguard", "watch")
    assert check(words)["provider"] == "openai"
    assert int(unit["Service"]["TimeoutStopSec"]) > 10  # what ending may take
    name = unit["Service"]["LoadCredential"].partition(":")[0]
    assert f"${{CREDENTIALS_DIRECTORY}}/{name}" in words


def test_the_container():
    lines = [line.split(" ", 1) for line in block("dockerfile").splitlines()]
    known = {"FROM", "RUN", "USER", "WORKDIR", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT"}
    assert {word for word, _ in lines} <= known
    program, command, *words = json.loads(dict(lines)["ENTRYPOINT"])
    assert (program, command) == ("promptguard", "watch")
    assert str(check(words)["port"]) == dict(lines)["EXPOSE"]
    compile(json.loads(dict(lines)["HEALTHCHECK"].partition("CMD ")[2])[2], "healthcheck", "exec")


def test_the_deployment():
    (deployment,) = yaml.safe_load_all(block("yaml"))
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert check(container["args"])["key_file"].startswith(container["volumeMounts"][0]["mountPath"])
    assert (
        deployment["spec"]["selector"]["matchLabels"] == deployment["spec"]["template"]["metadata"]["labels"]
    )
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "health"}
    assert ports["health"] == check([])["port"]
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in spec["volumes"]}
    from promptguard.settings.model import PromptGuardSettings
    from promptguard.settings.reading import NOT_SETTINGS

    names = [each["name"] for each in container["env"]]
    settings = {f"PROMPTGUARD_{name.upper()}" for name in PromptGuardSettings.model_fields}
    assert set(names) <= settings | set(NOT_SETTINGS)


@pytest.mark.parametrize("words", re.findall(r"PROMPTGUARD_DRIFT__EVALUATE=(\w+)", PAGE))
def test_what_applications_are_told(words, monkeypatch):
    from promptguard.settings.model import PromptGuardSettings

    monkeypatch.setenv("PROMPTGUARD_DRIFT__EVALUATE", words)
    assert PromptGuardSettings().drift.evaluate == words
