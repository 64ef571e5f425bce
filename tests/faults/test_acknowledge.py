"""Saying that an alarm is known ends what it did, for every process, and begins to watch anew."""

from __future__ import annotations

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.cli import main
from promptguard.core.epochs import Epochs
from promptguard.errors import InputFileError
from promptguard.testing import FakeProvider

UNLIMITED = promptguard.Budget(calls_per_minute=None)


def cli(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    return ended.value.code, out, err


@pytest.mark.sdk
def test_a_route_ends_and_a_new_epoch_begins(guarded, capsys):
    changed = [True]
    models = {"m": lambda _: "```\nno\n```" if changed[0] else "yes, it is", "pinned": lambda _: "yes, it is"}
    with FakeProvider(models) as provider:
        client = OpenAI(base_url=provider.url, api_key="k")
        promptguard.wrap(
            client,
            ledger=guarded,
            shadow=promptguard.Shadow(model="pinned", sample=1.0, repeat=0.0, budget=UNLIMITED),
            drift=promptguard.Drift(mode="gate"),
            on_drift=promptguard.Route(to="pinned"),
        )

        def ask(times):
            for _ in range(times):
                answer = client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "hi"}]
                )
            assert promptguard.flush(100.0)
            return answer.choices[0].message.content

        ask(30)
        assert ask(1) == "yes, it is", "routed to the pinned snapshot"
        (first,) = [v for v in promptguard.verdicts(guarded) if v.stream == "candidate"]
        assert (first.status, first.epoch) == ("drift", 1)
        assert cli(capsys, "status", "--ledger", str(guarded))[0] == 1

        changed[0] = False  # the provider has taken it back
        code, out, _ = cli(capsys, "acknowledge", first.group, "--ledger", str(guarded))
        assert code == 0
        assert "a new epoch begins" in out
        background = open_backgrounds()[0]
        background.evaluator.flush(60.0)
        assert not background.state.routes
        routed = provider.asked("m")
        assert ask(30) == "yes, it is"
        assert provider.asked("m") >= routed + 30, "the application's own model answers again"
        (now,) = [v for v in promptguard.verdicts(guarded) if v.stream == "candidate"]
        assert (now.status, now.epoch) == ("no_drift", 3)
        assert cli(capsys, "status", "--ledger", str(guarded))[0] == 0
        client.close()


def test_epochs_are_the_same_however_one_comes_to_them():
    epochs = Epochs()
    noted = [
        ("alarm", "replay", "a"), ("route", "replay", "a"), ("acknowledge", "replay", "a"),
        ("alarm", "candidate", "b"), ("acknowledge", "candidate", "b"), ("acknowledge", "repeat", ""),
    ]  # fmt: skip
    for kind, stream, group in noted:
        epochs.apply({"kind": kind, "stream": stream, "group": group})
    assert epochs.of("replay", "a") == 2
    assert epochs.of("candidate", "a") == 3, "one for the route, one for its end"
    assert epochs.routed == {("a", 2)}
    assert epochs.of("candidate", "b") == 2
    assert epochs.of("repeat", "whatever") == 2
    assert epochs.is_closed("replay", "a", 1)
    assert not epochs.is_closed("replay", "a", 2)
    assert not epochs.is_closed("replay", "b", 1)
    assert epochs.is_closed("repeat", "any", 1)


def test_wrong_use_is_one_clear_line(capsys, tmp_path, recorded_quiet):
    with pytest.raises(InputFileError, match="no ledger"):
        promptguard.acknowledge(tmp_path / "nowhere")
    with pytest.raises(promptguard.ConfigurationError, match="no alarm"):
        promptguard.acknowledge(recorded_quiet)
    for arguments, named in (
        ((), "--all"),
        (("g@1", "--all"), "--all"),
        (("g@1",), "no alarm of 'g@1' stands"),
    ):
        code, _, err = cli(capsys, "acknowledge", *arguments, "--ledger", str(recorded_quiet))
        assert code == 2
        assert named in err


@pytest.fixture
def recorded_quiet(tmp_path):
    from promptguard.ledger.store import Ledger

    Ledger(tmp_path / "quiet").open()
    return tmp_path / "quiet"
