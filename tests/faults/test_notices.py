"""What cannot work is said once, in the log and in `promptguard status` of another process; the application goes on."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from openai import OpenAI

import promptguard
from promptguard import Budget, Replay, RollBack, Route, Shadow
from promptguard.background import notices
from promptguard.ledger.store import Ledger
from promptguard.report.read import read_report
from promptguard.report.sums import NOTICE_SECONDS
from promptguard.testing import FakeProvider

pytestmark = pytest.mark.sdk
UNLIMITED = Budget(calls_per_minute=None)


@pytest.fixture(autouse=True)
def nothing_said():
    notices._said.clear()


def status(ledger):
    command = [sys.executable, "-m", "promptguard", "status", "--ledger", str(ledger), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)


def asked(ledger, model="gpt-4o", times=3, **settings):
    with FakeProvider(
        {"gpt-4o": lambda _: "yes", "gpt-4": lambda _: "yes", "my-2": lambda _: "yes"}
    ) as provider:
        for _ in range(2):  # a client a request is ordinary, and says nothing twice
            with OpenAI(base_url=provider.url, api_key="k") as client:
                promptguard.wrap(client, ledger=ledger, **settings)
                for number in range(times):
                    message = [{"role": "user", "content": f"hi {number}"}]
                    assert client.chat.completions.create(model=model, messages=message).choices
        assert promptguard.flush(100.0)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"shadow": Shadow("gpt-4o", sample=1, budget=UNLIMITED)}, "is the model that the application asks"),
        ({"shadow": Shadow("gpt-4", sample=1, budget=UNLIMITED)}, "both are names without a date"),
        ({"shadow": Shadow("my-2", sample=1, budget=Budget(usd_per_day=5))}, "no price is known for 'my-2'"),
        ({"shadow": Shadow("my-2", sample=0)}, "asks nothing"),
        ({"replay": Replay(share=1, after=0, budget=UNLIMITED)}, "of one moment"),
        (
            {"shadow": Shadow("gpt-4-0314", sample=1, budget=UNLIMITED), "on_drift": RollBack("promtps")},
            "RollBack('promtps'): there is no such folder",
        ),
    ],
)
def test_it_is_said_once_and_another_process_knows(guarded, caplog, settings, text):
    with caplog.at_level(logging.WARNING, "promptguard"):
        asked(guarded, **settings)
    assert caplog.text.count(text) == 1
    found = status(guarded)["notices"]
    assert [text in each["text"] for each in found] == [True]


def test_without_background_work_it_is_logged_and_no_file_is_made(guarded, caplog):
    with caplog.at_level(logging.WARNING, "promptguard"):
        asked(guarded, on_drift=Route("gpt-4-0314"))
    assert caplog.text.count("nothing to act on") == 1
    assert not guarded.exists()


def test_what_is_no_longer_said_is_no_longer_shown(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.put_notices(["old"], 1_000.0)
    ledger.put_notices(["old", "new"], 2_000.0)
    assert [each.text for each in read_report(tmp_path).notices] == ["new", "old"]
    ledger.put_notices(["new"], 2_000.0 + NOTICE_SECONDS + 1.0)
    assert [(each.text, each.at) for each in read_report(tmp_path).notices] == [
        ("new", 2_001.0 + NOTICE_SECONDS)
    ]


def test_a_terminal_shows_it(guarded, capsys):
    from promptguard.cli import main

    asked(guarded, shadow=Shadow("gpt-4o", sample=1, budget=UNLIMITED))
    with pytest.raises(SystemExit):
        main(["status", "--ledger", str(guarded)])
    assert "cannot work: Shadow(model='gpt-4o')" in " ".join(capsys.readouterr().out.split())
