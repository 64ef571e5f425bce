"""What `promptguard doctor` finds: each thing that can be wrong, and nothing where all is well."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sqlite3
import time
from contextlib import closing

import pytest

import promptguard
from promptguard.cli import main
from promptguard.doctor import examine, machine, worst
from promptguard.doctor.examination import _run
from promptguard.doctor.findings import Finding
from promptguard.ledger.store import Ledger
from promptguard.ledger.writer import Writer
from tests.settings.conftest import place, project  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("place")


def doctor(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments, "--json"])
    out, err = capsys.readouterr()
    return ended.value.code, json.loads(out) if out else None, err


def of(findings, check):
    return [(each.level, each.text) for each in findings if each.check == check]


def only(findings, check, level):
    (text,) = [each.text for each in findings if (each.check, each.level) == (check, level)]
    return text


def pair(at, **more):
    row = dict.fromkeys(("asked", "control_model", "candidate_model"), "m")
    return {
        **row,
        "stream": "candidate",
        "epoch": 1,
        "group": "g",
        "at": at,
        "call": 1,
        "outcome": "dropped",
        "reason": "queue full",
    } | more


def test_a_new_place_is_fine(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(machine, "has_wal_reset_bug", lambda version: False)
    code, told, _ = doctor(capsys)
    assert code == 0
    assert told["status"] == "ok", [each for each in told["checks"] if each["level"] != "ok"]
    assert {each["check"] for each in told["checks"]} == {
        "settings", "environment", "packages", "sqlite", "proxies", "instrumentation", "opentelemetry", "places", "ledger",
        "clock", "prices", "coverage",
    }  # fmt: skip
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_text_for_people(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert "● environment: promptguard" in out
    assert out.splitlines()[-1].startswith("0 broken, ")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b"SQLite format 3\0" + b"x" * 5000), "damaged"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: closing(sqlite3.connect(path)).thing.executescript("CREATE TABLE t(x)"), "foreign"),
    ],
)
def test_a_ledger_that_cannot_be_read_is_broken_in_the_words_of_status(tmp_path, capsys, damage, said):
    directory = tmp_path / ".promptguard"
    directory.mkdir(mode=0o700)
    damage(directory / "ledger.sqlite3")
    code, told, _ = doctor(capsys, "--ledger", str(directory))
    assert (code, told["status"]) == (1, "broken")
    text = only([Finding(**each) for each in told["checks"]], "ledger", "broken")
    assert said in text
    with pytest.raises(SystemExit):
        main(["status", "--ledger", str(directory)])
    assert text in capsys.readouterr().err


def test_a_newer_ledger(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.open()
    with closing(sqlite3.connect(ledger.engine.path)) as raw, raw:
        raw.execute("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    assert "newer" in only(examine(tmp_path), "ledger", "broken")


def test_rows_from_the_future_and_clocks_that_differ(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.write_pairs([pair(time.time() + 7200), pair(time.time() - 10)])
    found = of(examine(tmp_path), "clock")
    assert [level for level, _ in found] == ["warning", "warning"]
    assert "ahead of this machine" in found[0][1]
    assert "out of order" in found[1][1]


def test_a_candidate_that_was_waited_for_while_replays_went_on_is_no_wrong_clock(tmp_path):
    ledger = Ledger(tmp_path)
    now = time.time()
    ledger.write_pairs([{**pair(now - 10), "stream": "replay"}, {**pair(now - 900), "stream": "candidate"}])
    assert [level for level, _ in of(examine(tmp_path), "clock")] == ["ok"]


def test_clocks_that_agree(tmp_path):
    ledger = Ledger(tmp_path)
    now = time.time()
    ledger.write_pairs([pair(now - 200), pair(now - 350), pair(now)])  # a call may take minutes
    assert [level for level, _ in of(examine(tmp_path), "clock")] == ["ok"]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_what_others_can_read_is_a_warning(tmp_path):
    ledger = Ledger(tmp_path / "kept")
    ledger.open()
    assert {level for level, _ in of(examine(tmp_path / "kept"), "places")} == {"ok"}
    ledger.engine.path.chmod(0o644)
    ledger.place.chmod(0o755)
    said = [text for level, text in of(examine(tmp_path / "kept"), "places") if level == "warning"]
    assert [text.rpartition(": ")[2] for text in said] == [
        f"chmod 0700 {ledger.place}",
        f"chmod 0600 {ledger.engine.path}",
    ]


def test_a_place_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "is no directory" in only(examine(tmp_path / "file"), "places", "broken")
    link = tmp_path / "linked"
    link.mkdir(mode=0o700)
    (link / "ledger.sqlite3").symlink_to(tmp_path / "file")
    assert "no regular file" in only(examine(link), "places", "broken")


def test_a_short_secret_is_broken_and_never_shown(tmp_path, monkeypatch):
    (tmp_path / ".promptguard").mkdir(mode=0o700)
    monkeypatch.setenv("PROMPTGUARD_CACHE_KEY", "canary")
    found = examine()
    assert "at least 16 bytes" in only(found, "places", "broken")
    assert "canary" not in str(found)


@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PROMPTGUARD_SECRET", "canary", "PROMPTGUARD_SECRET must have at least 16 bytes"),
        ("PROMPTGUARD_SECRET_FILE", "/nowhere/secret", "cannot be read"),
    ],
)
def test_a_shared_secret_that_wrap_refuses_is_broken(tmp_path, monkeypatch, variable, value, said, made):
    if made:
        (tmp_path / ".promptguard").mkdir(mode=0o700)
    monkeypatch.setenv(variable, value)
    found = examine()
    assert said in only(found, "places", "broken")
    assert "canary" not in str(found)


def test_a_shared_secret_is_told_and_never_shown(monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_SECRET", "canary" * 5)
    found = examine()
    assert ("ok", "PROMPTGUARD_SECRET is set (not shown)") in of(found, "places")
    assert "canary" not in str(found)


def test_proxies_without_their_credentials(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret-canary@proxy.example:3128/")
    monkeypatch.setenv("all_proxy", "socks5://canary@other:1080")
    text = only(examine(), "proxies", "ok")
    assert "HTTPS_PROXY=http://proxy.example:3128" in text
    assert "ALL_PROXY=socks5://other:1080" in text
    assert "canary" not in text
    assert machine.address("user:canary@host:port") == "(unreadable)"


def test_a_provider_of_opentelemetrys_that_is_not_installed(monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "nowhere")
    assert "names 'nowhere', which is not installed" in only(examine(), "opentelemetry", "warning")


def test_who_else_instruments(monkeypatch):
    class Installed:
        def __init__(self, name):
            self.name = name

    names = [
        "Langfuse",
        "openinference_instrumentation_openai",
        "opentelemetry-instrumentation-openai-v2",
        "requests",
    ]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: map(Installed, names))
    (finding,) = machine.instrumentation()
    assert (
        "langfuse, openinference-instrumentation-openai, opentelemetry-instrumentation-openai-v2;"
        in finding.text
    )


@pytest.mark.parametrize(
    ("version", "has"),
    [
        ((3, 40, 1), True), ((3, 51, 2), True), ((3, 51, 3), False), ((3, 50, 6), True), ((3, 50, 7), False),
        ((3, 44, 6), False), ((3, 44, 5), True), ((3, 53, 0), False), ((3, 6, 23), False), ((4, 0, 0), False),
    ],
)  # fmt: skip
def test_versions_of_sqlite_with_the_bug(version, has):
    assert machine.has_wal_reset_bug(version) is has


def test_wrong_settings_are_broken_and_the_rest_is_looked_at(monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_SHADOW__SAMPLE", "much")
    found = examine()
    assert "PROMPTGUARD_SHADOW__SAMPLE='much'" in only(found, "settings", "broken")
    assert of(found, "ledger") != []


def test_what_is_not_covered_and_why(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path)
    writer = Writer(ledger, lambda: None, lambda *_: None)
    writer.count("not paired", "no background client", 4)
    writer.count("not read", "field `thread` not known")
    writer.count("faults", "telemetry: ValueError", 2)
    writer.note_sighting(("http://x", "my-2", "my-2", "", "", "", ""), time.time())
    assert writer.flush(20.0)
    writer.close(5.0)
    ledger.put_notices(["Shadow(sample=0) asks nothing"], time.time())
    found = examine(tmp_path)
    said = [text for level, text in of(found, "coverage") if level == "warning"]
    assert [
        part in text
        for part, text in zip(("cannot work: Shadow", "Shadow(client=...)", "fields="), said, strict=True)
    ]
    assert "telemetry: ValueError (2)" in only(found, "ledger", "warning")
    assert "no list price for my-2" in only(found, "prices", "ok")
    monkeypatch.setenv("PROMPTGUARD_SHADOW__MODEL", "my-2")
    monkeypatch.setenv("PROMPTGUARD_SHADOW__BUDGET__USD_PER_DAY", "5")
    assert "lets none of their calls through" in only(examine(tmp_path), "prices", "warning")


def test_alarms_that_wait(tmp_path):
    ledger = Ledger(tmp_path)
    for number in range(3):
        detail = {"asked": "m", "epoch": 1, "pairs": 1, "log10_evidence": 1.0, "deliver": True}
        ledger.note(at=time.time(), call=number, kind="alarm", stream="replay", group="g", detail=detail)
    ledger.note(at=time.time(), call=0, kind="delivered", stream="replay", group="g", detail={"alarm": 1})
    assert "not delivered to on_drift yet: 2" in only(examine(tmp_path), "ledger", "warning")


def test_a_check_that_fails_ends_no_other():
    def broken():
        raise RuntimeError("oh")

    assert _run("x", broken) == [Finding("x", "broken", "this check failed: RuntimeError: oh")]
    assert worst([]) == "ok"


@pytest.mark.sdk
def test_one_client(tmp_path, capsys):
    (tmp_path / "doctored_app.py").write_text(
        "import openai, httpx, promptguard\n"
        "class state: client = openai.OpenAI(base_url='http://127.0.0.1:9/v1', api_key='canary')\n"
        "wrapped = promptguard.wrap(openai.OpenAI(base_url='http://127.0.0.1:9/v1', api_key='canary'))\n"
        "number = 5\n"
    )
    _, told, _ = doctor(capsys, "--client", "doctored_app:state.client")
    found = [Finding(**each) for each in told["checks"]]
    assert "is not wrapped" in only(found, "client", "warning")
    assert "can be built" in only(found, "client", "ok")
    code, told, _ = doctor(capsys, "--client", "doctored_app:wrapped")
    assert code == 0
    assert [each["level"] for each in told["checks"] if each["check"] == "client"] == ["ok", "ok"]
    assert "canary" not in json.dumps(told)
    assert doctor(capsys, "--client", "doctored_app:number")[0] == 1
    for wrong in ("doctored_app", "doctored_app:nothing", "no_such_module:client"):
        code, told, err = doctor(capsys, "--client", wrong)
        assert (code, told) == (2, None)
        assert "--client" in err
    assert promptguard.flush(1.0)
