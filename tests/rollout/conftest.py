"""A folder of prompts with a rollout's two versions, a provider, and the commands as people write them."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace

import pytest

import promptguard
from promptguard.background import rolling
from promptguard.cli import main
from promptguard.rollout import starting
from promptguard.testing import FakeProvider

GUARD = "usable,refusal"
SECRET = "the canary of prompts"
_opened = []


@pytest.fixture
def place(tmp_path, monkeypatch):
    for version, word in ((3, "Sort"), (4, "File")):
        write(tmp_path, version, f"system:\n{word} it.\n\nuser:\n{{{{ ticket }}}}")
    monkeypatch.chdir(tmp_path)
    # Units of a run are those of the next one.
    monkeypatch.setattr(starting, "secrets", SimpleNamespace(token_bytes=lambda size: bytes(range(size))))
    main_ok("prompts", "label", "triage@3", "production")
    yield tmp_path
    while _opened:
        _opened.pop().close()
    for each in rolling.rollings.living():
        each.stop()
        each.join(5.0)
        rolling.rollings.discard(each)


def write(folder, version, text, front='inputs:\n  - {name: ticket}\nclasses:\n  bug: "bug"'):
    path = folder / "prompts" / "triage" / f"{version}.prompty"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\nname: triage\n{front}\n---\n{text}\n")


def main_ok(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 0


def told(capsys, *arguments):
    capsys.readouterr()
    main_ok(*arguments, "--json")
    return json.loads(capsys.readouterr().out)


def shown(capsys, *arguments):
    capsys.readouterr()
    main_ok(*arguments)
    return capsys.readouterr().out


def refused(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.fixture
def provider():
    def answer(question):
        return "no label here" if "File" in json.dumps(question.messages) else "a bug"

    with FakeProvider({"gpt-4": answer, "gpt-4-0613": lambda _: "a bug"}) as provider:
        yield provider


def wrapped(provider, ledger=".promptguard"):
    from openai import OpenAI

    client = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k", max_retries=0), ledger=ledger)
    _opened.append(client)
    followed()
    return client


def opened():
    library = promptguard.prompts("prompts")
    followed()
    return library


def followed():
    """Wait for the first look at the ledger: whoever opens it waits for half a second alone."""
    for thread in threading.enumerate():
        if thread.name == "promptguard-follow":
            thread.join(60.0)


def ask(client, library, unit, text=SECRET):
    call = library.render("triage@production", unit=unit, ticket=f"{text} {unit}")
    client.chat.completions.create(model="gpt-4", messages=call.messages)
    return call.version
