"""Every command takes the address of a database, says what it says of a directory, and shows no password."""

from __future__ import annotations

import pytest

from promptguard.cli import main
from promptguard.dashboard.access import Access
from promptguard.ledger.store import Ledger
from tests.fleet.pairs import GROUPS, judged, story
from tests.fleet.servers import PASSWORD

PAGES = (
    "/", "/prompt?group=group+0%401", "/pairs", "/identities", "/prompts", "/rollouts", "/unmeasured", "/cost", "/actions",
    "/state",
)  # fmt: skip
COMMANDS = [
    ["status"],
    ["status", "--json"],
    ["report", "-o", "report.html"],
    ["explain", GROUPS[0]],
    ["explain", GROUPS[0], "--json"],
    ["doctor"],
    ["doctor", "--json"],
    ["plan"],
    ["alerts", "list"],
    ["cache", "stats"],
    ["rollout", "status"],
    ["undo", "1"],
    ["prompts", "push", "prompts", "ledger:"],
    ["prompts", "list", "--prompts", "ledger:"],
    ["config", "show"],
    ["config", "show", "--json", "--sources"],
    ["acknowledge", "--all"],
    ["status"],
]


@pytest.fixture
def filled(database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = story(300)
    for where in (database, str(tmp_path / "ledger")):
        Ledger(where).write_pairs(rows)
        judged(where)
    (tmp_path / "prompts" / "hello").mkdir(parents=True)
    (tmp_path / "prompts" / "hello" / "1.prompty").write_text(
        "---\nname: hello\n---\nuser:\nHello {{name}}\n"
    )
    return database, str(tmp_path / "ledger")


def run(arguments, where, monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_LEDGER", where)
    given = [f"ledger:{where}" if each == "ledger:" else each for each in arguments]
    if not any(each.startswith("ledger:") for each in given) and given[0] != "config":
        given += ["--ledger", where]
    with pytest.raises(SystemExit) as ended:
        main(given)
    return int(ended.value.code or 0)


def test_every_command(filled, monkeypatch, capfd, caplog, tmp_path):
    for arguments in COMMANDS:
        codes = []
        for where in filled:
            codes.append(run(arguments, where, monkeypatch))
            said = capfd.readouterr()
            assert PASSWORD not in said.out + said.err, arguments
            assert "Traceback" not in said.err
        assert codes[0] == codes[1], (arguments, said)
    assert PASSWORD not in caplog.text
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or PASSWORD.encode() not in path.read_bytes(), path


def test_a_wrong_password_is_not_repeated(database, monkeypatch, capfd):
    address = database.replace("app:", "nobody:")
    for arguments in COMMANDS:
        run(arguments, address, monkeypatch)
        said = capfd.readouterr()
        assert PASSWORD not in said.out + said.err, arguments


def test_pages(filled):
    from starlette.testclient import TestClient

    from promptguard.dashboard.app import application

    database, directory = filled
    for where in (database, directory):
        client = TestClient(application(where, Access()), base_url="http://127.0.0.1")
        for page in PAGES:
            answer = client.get(page)
            assert PASSWORD not in answer.text
            assert answer.status_code == 200, page
