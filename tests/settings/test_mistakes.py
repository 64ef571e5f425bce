"""What is written wrong outside code is told with its place: the variable, or the file, table and key."""

from __future__ import annotations

import logging

import pytest

from promptguard import ConfigurationError
from promptguard.settings import current, reading
from promptguard.settings.loading import DEFAULTS


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("SHADOW__SAMPLE", "5%", r"PROMPTGUARD_SHADOW__SAMPLE='5%' is not accepted \(did you mean 0.05\?\)"),
        ("SHADOW__MODL", "x", r"PROMPTGUARD_SHADOW__MODL: .*did you mean PROMPTGUARD_SHADOW__MODEL\?"),
        (
            "SHADW__MODEL",
            "x",
            r"PROMPTGUARD_SHADW__MODEL is not known: did you mean PROMPTGUARD_SHADOW__MODEL\?",
        ),
        ("SHADOW_MODEL", "x", r"did you mean PROMPTGUARD_SHADOW__MODEL\?"),
        ("SHADOW", "gpt-4", r"PROMPTGUARD_SHADOW='gpt-4' .*PROMPTGUARD_SHADOW__MODEL"),
        ("SHADOW__SAMPLE", "0.1", r"PROMPTGUARD_SHADOW__SAMPLE: Shadow\(model=...\) is missing"),
        ("SHADOW__CLIENT", "x", "can only be given in code"),
        ("CACHE", "disc", r"PROMPTGUARD_CACHE='disc' .*did you mean disk"),
        ("CACHE__VARIANTS", "3", "PROMPTGUARD_CACHE__VARIANTS: .*add sampled=True"),
        ("CACHE__TTL", "1 hour", 'PROMPTGUARD_CACHE__TTL=.*did you mean "1h"'),
        ("REPLAY__AFTER", "soon", "PROMPTGUARD_REPLAY__AFTER='soon'"),
        ("DRIFT__ALPHA", "NaN", "PROMPTGUARD_DRIFT__ALPHA"),
        ("DRIFT__SPLIT", '{"shadow": 1}', "PROMPTGUARD_DRIFT__SPLIT: .*no such stream"),
        ("ON_DRIFT", "rout:x", "PROMPTGUARD_ON_DRIFT='rout:x' .*did you mean route"),
        ("ON_DRIFT", "route:", "PROMPTGUARD_ON_DRIFT"),
        ("RECORD_CONTENT", "perhaps", "PROMPTGUARD_RECORD_CONTENT='perhaps' .*True or False"),
        ("SEED", "x", "PROMPTGUARD_SEED='x' .*whole number"),
        ("SEED__X", "1", "PROMPTGUARD_SEED__X: seed has no parts"),
        ("FIELDS", '{"x": "harmless"}', "PROMPTGUARD_FIELDS: .*stateful"),
        ("LEDGER", "none", "PROMPTGUARD_LEDGER"),
        ("SHADOW__MODEL", "none", "PROMPTGUARD_SHADOW__MODEL='none' is not accepted"),
        ("LEDGERS", "x", r"did you mean PROMPTGUARD_LEDGER\?"),
    ],
)
def test_a_wrong_variable(place, monkeypatch, variable, text, said):
    monkeypatch.setenv(f"PROMPTGUARD_{variable}", text)
    with pytest.raises(ConfigurationError, match=said):
        current()


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://app:S3CRET@db.example.com:54x2/watch", "postgresql://app:p/S3CRET#1@db.example.com/watch",
        "postgresql://app:S3CRET@db.example.com", "postgres://app:S3CRET@db/watch", "mysql://app:S3CRET@db/watch",
        "postgresql+asyncpg://app:S3CRET@db/watch", "psql://app:S3CRET@db/watch",
        "jdbc:postgresql://db/watch?user=app&password=S3CRET", "host=db user=app password=S3CRET",
    ],
)  # fmt: skip
def test_a_refused_address_is_not_repeated(place, monkeypatch, address):
    monkeypatch.setenv("PROMPTGUARD_LEDGER", address)
    with pytest.raises(ConfigurationError, match="PROMPTGUARD_LEDGER") as refused:
        current()
    assert "S3CRET" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shadow = {model = 7}", r"pyproject.toml: \[tool.promptguard.shadow\] model=7 is not accepted"),
        ("shadow = 'gpt-4'", r"\[tool.promptguard\] shadow='gpt-4' .*\[tool.promptguard.shadow\] model"),
        ("shadow = {sample = '0.1', model = 'x'}", r"sample='0.1' .*did you mean 0.1"),
        ("cahce = 'disk'", r"'cahce' is not known \(did you mean cache\?\)"),
        ("cache = {kind = 'disk', on_drft = 'keep'}", r"did you mean on_drift\?"),
        ("drift = {horizon = 1.5}", "horizon=1.5"),
        ("seed = true", "seed=True"),
        ("ledger = ''", "ledger=''"),
        ("ledger = 'postgres://user:secret@host/db'", "no such kind of ledger"),
        ("ledger = 5", "ledger=5"),
        ("ledger = '~no-such-user-here/x'", "home directory"),
        ("on_drift = 3", "on_drift=3"),
        ("on_drift = ['warn', 'shout']", "on_drift='shout'"),
        ("replay = 0.02", "replay=0.02"),
        ("fields = {x = 1}", "stateful"),
        ("ledger = 3", "ledger=3"),
        ("seed = ", "not readable as TOML"),
    ],
)
def test_a_wrong_line_in_the_file(project, text, said):
    path = project(f"[tool.promptguard]\n{text}\n") / "pyproject.toml"
    with pytest.raises(ConfigurationError, match=said) as raised:
        current()
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    "text", ["[project\nname = 'promptguard-user'", "[tool.other]\npromptguard = 1\n", "\x00"]
)
def test_a_file_that_is_no_business_of_ours(project, text):
    project(text)
    assert current() is DEFAULTS


def test_a_table_of_another_kind(project):
    project("[tool]\npromptguard = 3\n")
    with pytest.raises(ConfigurationError, match="must be a table"):
        current()


def test_other_variables_are_left_alone_and_told_once(place, monkeypatch, caplog):
    reading._told.clear()
    monkeypatch.setenv("PROMPTGUARD_FLEET_TOKEN", "secret-canary")
    monkeypatch.setenv("PROMPTGUARD_CACHE_KEY", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("PROMPTGUARD_DEBUG", "1")
    with caplog.at_level(logging.WARNING, "promptguard"):
        for seed in ("1", "2"):
            monkeypatch.setenv("PROMPTGUARD_SEED", seed)
            assert current().seed == int(seed)
    assert caplog.text.count("PROMPTGUARD_FLEET_TOKEN") == 1
    assert "canary" not in caplog.text
